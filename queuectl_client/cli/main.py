"""Entry point of `queuectl`; converts errors to exit codes.

    0 ok · 1 failed · 2 usage or bad input · 3 daemon not reachable · 4 not found
    5 wrong state or conflict · 124 time-out · 130 interrupted · 141 output closed by its reader

Imports only built-in modules at the top, and sets the handler of Ctrl-C before any other statement, so that a Ctrl-C
while the rest is imported ends without a traceback, too.
"""

# ruff: noqa: E402  (the imports below the handler)
from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes a while to import
import sys

INTERRUPTED = 130


def _exit_on_interrupt(_number: int, _frame: object) -> None:
    """End the process at once: an exception during an import may be printed, or get lost."""
    import posix

    if posix.isatty(2):
        posix.write(2, b"\n")  # after the terminal's ^C
    posix._exit(INTERRUPTED)


def _may_interrupt() -> bool:
    """Return whether Ctrl-C may end the process at once: nobody else ignores or handles it."""
    return _signal.getsignal(_signal.SIGINT) in (_signal.default_int_handler, _exit_on_interrupt)


# Another program that imports this module keeps its own handling.
if sys.argv[0].rpartition("/")[2] == "queuectl" and _may_interrupt():
    _signal.signal(_signal.SIGINT, _exit_on_interrupt)

import gc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import NoReturn

READER_GONE = 141
"""128 + SIGPIPE, as a shell reports for a program whose output goes to `head`."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run `queuectl` with these arguments (default: sys.argv) and exit. Never prints a traceback."""
    may_interrupt = args is None and _may_interrupt()
    if may_interrupt:
        _signal.signal(_signal.SIGINT, _exit_on_interrupt)
    sys.excepthook = _one_line
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_what_is_closed()
    _write_anything()
    # Imports create no garbage, and collecting takes a tenth of the time of a short command.
    gc.disable()
    try:
        code = _run(sys.argv[1:] if args is None else list(args), may_interrupt=may_interrupt)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if args is None:
        _leave(code)
    sys.exit(code)


def _open_what_is_closed() -> None:
    """Open /dev/null for closed standard streams (`>&-`), so that no socket gets their descriptors and none is None."""
    import os

    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115  (open until exit)


def _write_anything() -> None:
    """Make stdout and stderr escape characters that their encoding lacks (LC_ALL=C, PYTHONIOENCODING=ascii).

    UTF-8 with surrogate escapes, as in the C locale, can encode everything.
    """
    for stream in (sys.stdout, sys.stderr):
        is_whole = stream.errors == "surrogateescape" and stream.encoding.lower() in ("utf-8", "utf8")
        if stream.errors in ("strict", "surrogateescape") and not is_whole:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # as Python has made it


def _leave(code: int) -> None:
    """Exit without finalizing the interpreter, which would take as long as `status` does."""
    import os

    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _run(args: list[str], *, may_interrupt: bool) -> int:
    """Import and run a command; return its exit code. `may_interrupt`: Ctrl-C ends the process during imports."""
    import os

    import click

    from queuectl_client.cli.invocation import Invocation
    from queuectl_client.cli.root import root
    from queuectl_client.errors import QueuectlError

    invocation = Invocation()
    gc.freeze()
    gc.enable()
    if may_interrupt:
        _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    try:
        if "_QUEUECTL_COMPLETE" in os.environ:  # called by a shell's completion script
            from queuectl_client.cli.completion.complete import answer

            return answer(root, invocation, os.environ)
        # Not root.main, which has other exit codes for a broken pipe and an interrupt.
        with root.make_context("queuectl", args, obj=invocation) as ctx:
            result = root.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, EOFError, KeyboardInterrupt):
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # after the terminal's ^C
        return INTERRUPTED
    except click.ClickException as error:
        invocation.refusal(error)
        return error.exit_code
    except QueuectlError as error:
        invocation.error(str(error))
        return error.exit_code
    except BrokenPipeError:
        _abandon_stdout()
        return READER_GONE
    except OSError as error:
        # A local error: the output cannot be written (a full disk), or a file cannot be read.
        # Flushing the rest of stdout would fail again.
        _abandon_stdout()
        invocation.error(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
        return 1
    finally:
        invocation.close()
    return result if isinstance(result, int) else 0


def _abandon_stdout() -> None:
    """Redirect stdout to /dev/null, so that the final flush does not fail again."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Excepthook: print an internal error on one line, with its location."""
    where = ""
    while trace is not None:
        where = f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}, line {trace.tb_lineno})"
        trace = trace.tb_next
    from queuectl_client.cli.output.render import escape

    print(f"Error: internal error in queuectl: {kind.__name__}: {escape(error)}{where}", file=sys.stderr)
