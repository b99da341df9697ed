"""The command `queuectld`: parses arguments, takes the lock, binds the socket and runs the daemon.

Slow imports come after the lock: of twenty daemons started at once, nineteen exit here.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from queuectl_client import paths as places
from queuectl_client.plainfile import missing_target
from queuectld import __version__, lock, logs, ownlimits
from queuectld.config import SettingsRefused, read_settings
from queuectld.lock import DaemonLock, LockRefused
from queuectld.notify import Notifier, ReadyLine, adopted_sockets
from queuectld.server.socketfile import SocketRefused, bind

UMASK = 0o077
"""Files of the daemon are accessible only to its user. Jobs get the umask of the client that submitted them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon. Returns the exit code: 0, 1 if it could not start or failed, 2 for bad usage."""
    options = _parser().parse_args(argv)
    os.umask(UMASK)
    if options.verb != "serve":
        from queuectld import offline

        if options.parent is not None:
            offline.end_with(options.parent)
        return offline.run(
            options.verb, options.file, socket=options.socket, force=options.force, repair=options.repair
        )
    if options.autostarted:
        ownlimits.reset_inherited()
    logs.to_stderr("info")
    ready_line = ReadyLine(options.ready_fd)
    try:
        return _start(options, ready_line)
    except (LockRefused, SocketRefused, SettingsRefused, ValueError, OSError) as error:
        ready_line.error(str(error))
        print(f"queuectld: {logs.escaped(str(error))}", file=sys.stderr)
        return 1


def _start(options: argparse.Namespace, ready_line: ReadyLine) -> int:
    notifier = Notifier(os.environ)
    adopted = adopted_sockets(os.environ)
    paths = places.resolve(socket=options.socket)
    settings = read_settings(Path(paths.config_file))
    if settings.socket is not None and not paths.explicit_socket:
        paths = paths._replace(socket=str(settings.socket))
    if paths.link is not None and (why := missing_target(paths.link)) is not None:
        raise LockRefused(f"the store {why}; mount it, or remove the link to begin with an empty store")
    taken = lock.take(Path(paths.start_lock), Path(paths.lock))
    if not isinstance(taken, DaemonLock):
        if paths.explicit_socket and str(taken.socket) != paths.socket:
            raise LockRefused(f"a daemon with this store is already running (process {taken.pid}) at {taken.socket}")
        if not options.autostarted:  # started by a client, which only needs a daemon; stderr is the log
            words = f"queuectld: already running (process {taken.pid}) at {taken.socket}"
            print(logs.escaped(words), file=sys.stderr)
        ready_line.running()
        return 0
    sockets = adopted or [bind(Path(paths.socket))]
    if options.autostarted:
        _detach(Path(paths.daemon_log))
    logs.to_stderr(settings.log_level)
    from queuectld import app

    paths = paths._replace(socket=str(sockets[0].path))
    by_hand = options.by_hand or not options.autostarted
    return app.run(app.Start(paths, settings, taken, sockets, notifier, ready_line, by_hand))


def _detach(log: Path) -> None:
    """Detach from the terminal, folder and files of the client that started this daemon."""
    with suppress(PermissionError):  # it is already a session leader
        os.setsid()
    os.chdir("/")
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.close(nothing)
    logs.redirect_to(log)


class _Parser(argparse.ArgumentParser):
    """Escapes control characters of arguments in messages."""

    def _print_message(self, message: str, file: Any = None) -> None:
        super()._print_message(logs.escaped(message), file)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="queuectld",
        description="The daemon of queuectl: it keeps the queue and its workers. Without arguments it serves in the "
        "foreground and logs to stderr.",
        epilog="example: queuectld serve --socket /run/user/1000/q.sock",
    )
    parser.add_argument(
        "verb",
        nargs="?",
        choices=["serve", "doctor", "backup"],
        default="serve",
        help="serve until told to end (default); doctor: what is wrong, as JSON; backup: copy the store to FILE",
    )
    parser.add_argument("file", nargs="?", metavar="FILE", help="path of the backup")
    parser.add_argument("--force", action="store_true", help="backup: replace an existing file")
    parser.add_argument("--repair", action="store_true", help="doctor: repair the store first, without a daemon")
    parser.add_argument("--socket", metavar="PATH", help="path of the socket (default: where clients look for it)")
    parser.add_argument("--autostarted", action="store_true", help="run detached and log to queuectld.log")
    parser.add_argument("--by-hand", action="store_true", help="a person asked for it: detached workers come back")
    parser.add_argument(
        "--ready-fd", type=int, metavar="N", help="write `ready`, `running` (another is) or `error: …` to it"
    )
    parser.add_argument("--parent", type=int, metavar="PID", help="doctor, backup: end as soon as this process does")
    parser.add_argument("--version", action="version", version=f"queuectld {__version__}")
    return parser
