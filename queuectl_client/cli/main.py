"""The entry point, and the one place where an error becomes an exit code.

    0 ok · 1 failed · 2 usage or bad input · 3 daemon not reachable · 4 not found
    5 wrong state or conflict · 124 time-out · 130 interrupted · 141 nobody reads the output

Nothing is imported at the top but what the interpreter has built in: a Ctrl-C while the rest loads must end as quietly
as any other.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` itself takes a while to import
import gc
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import NoReturn

INTERRUPTED = 130
READER_GONE = 141
"""128 + SIGPIPE: what a shell reports of a program in front of `head`."""


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run `queuectl` with these words (those of the process when None) and exit. It never shows a traceback."""
    may_interrupt = args is None and _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler
    if may_interrupt:
        _signal.signal(_signal.SIGINT, _exit_on_interrupt)
    sys.excepthook = _one_line
    if None in (sys.stdin, sys.stdout, sys.stderr):
        _open_what_is_closed()
    _write_anything()
    # Nothing that is imported becomes garbage, and looking for some takes a tenth of a short command's time.
    gc.disable()
    try:
        code = _run(sys.argv[1:] if args is None else list(args), may_interrupt=may_interrupt)
    except KeyboardInterrupt:
        code = INTERRUPTED
    if args is None:
        _leave(code)
    sys.exit(code)


def _exit_on_interrupt(_number: int, _frame: object) -> None:
    """End the process at once: an exception in the middle of an import may be printed, or get lost."""
    if posix.isatty(2):
        posix.write(2, b"\n")  # behind the terminal's ^C
    posix._exit(INTERRUPTED)


def _open_what_is_closed() -> None:
    """Where standard streams are closed (`>&-`, some init scripts), have nothing there: not our socket, and no None."""
    import os

    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115  (as long as we are)


def _write_anything() -> None:
    """What an encoding has no bytes for (LC_ALL=C, PYTHONIOENCODING=ascii) is shown as an escape, and is no fault.

    With UTF-8 and surrogate escapes, as in the locale C, nothing is left that cannot be written.
    """
    for stream in (sys.stdout, sys.stderr):
        is_whole = stream.errors == "surrogateescape" and stream.encoding.lower() in ("utf-8", "utf8")
        if stream.errors in ("strict", "surrogateescape") and not is_whole:
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # as Python has made it


def _leave(code: int) -> None:
    """End the process now. To take the interpreter apart would take as long again as `status` does."""
    import os

    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _run(args: list[str], *, may_interrupt: bool) -> int:
    """Load the commands, then carry out one. `may_interrupt`: until they are loaded Ctrl-C ends the process."""
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
        if "_QUEUECTL_COMPLETE" in os.environ:  # a shell's completion script asks
            from queuectl_client.cli.completion.complete import answer

            return answer(root, invocation, os.environ)
        # Not root.main: it has exit codes of its own for a broken pipe and an interrupt.
        with root.make_context("queuectl", args, obj=invocation) as ctx:
            result = root.invoke(ctx)
        sys.stdout.flush()
    except click.exceptions.Exit as end:
        return end.exit_code
    except (click.Abort, EOFError, KeyboardInterrupt):
        if sys.stderr.isatty():
            sys.stderr.write("\n")  # behind the terminal's ^C
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
        # Ours alone: the output cannot be written (a full disk), a file cannot be read.
        # What stdout still holds would fail again, in the middle of saying so.
        _abandon_stdout()
        invocation.error(f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error))
        return 1
    finally:
        invocation.close()
    return result if isinstance(result, int) else 0


def _abandon_stdout() -> None:
    """Let the interpreter's last flush succeed, so that it does not complain a second time."""
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _one_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """What a fault of our own looks like: a sentence that can be reported, with where it was."""
    where = ""
    while trace is not None:
        where = f" ({trace.tb_frame.f_code.co_filename.rpartition('/')[2]}, line {trace.tb_lineno})"
        trace = trace.tb_next
    from queuectl_client.cli.output.render import escape

    print(f"Error: internal error in queuectl: {kind.__name__}: {escape(error)}{where}", file=sys.stderr)
