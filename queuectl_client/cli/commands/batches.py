"""`queuectl enqueue` of many jobs: a file of them, an array, a job for each line, and what runs when all have ended."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import BinaryIO, Final, NamedTuple
from uuid import uuid4

import click

from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput import sources
from queuectl_client.cli.jobinput.command import command_of
from queuectl_client.cli.jobinput.options import JobMap, lay_over, refuse_idle
from queuectl_client.cli.jobinput.templates import PLACE, Template, read_array
from queuectl_client.cli.output.hints import tell_hint, tell_what_id_hides
from queuectl_client.cli.output.stored import Stored, announce_all
from queuectl_client.errors import Conflict, InvalidParams
from queuectl_client.protocol.dependencies import BATCH_PREFIX
from queuectl_client.submission import capture
from queuectl_client.upload import UploadItem, upload

NOT_OF_FOLLOWERS: Final = frozenset({
    "id", "batch", "depends_on", "delay", "run_at", "hold", "name", "unique_key", "on_conflict", "key", "key_limit",
    "slots", "needs", "stdin", "stdin_open",
})  # fmt: skip
"""Options that are meant for the many, and not for what runs when they have ended."""


class BulkRequest(NamedTuple):
    """The arguments: a command, the source of the jobs, and (command, on) pairs of follow-up jobs."""

    command: tuple[str, ...]
    file: str | None
    array: str | None
    each: str | None
    null: bool
    followers: Sequence[tuple[str, str]]
    new_ids: bool = False


class _Plan:
    """The jobs to enqueue: default keys, which the daemon applies to each job, and the items."""

    def __init__(
        self, invocation: Invocation, request: BulkRequest, options: JobMap, *, shell: bool, lenient: bool
    ) -> None:
        self._invocation = invocation
        self._request = request
        self._shell = shell
        self._lenient = lenient
        self._around = capture()
        self.slots = 1
        command, given = None, options
        if request.file is None:
            job = command_of(request.command, shell=shell or _is_place(request), lenient=lenient, say=invocation.say)
            command = job.pop("command", None)
            given = lay_over(job, options)
            refuse_idle(given, options)
        self._array = None if request.array is None else read_array(request.array)
        if self._array is not None and self._array.at_once is not None and "key" in given:
            raise click.UsageError("--array …%K and --key are mutually exclusive")
        made_up = request.followers or request.array is not None or request.each is not None
        if made_up and not given.get("batch"):
            given = {**given, "batch": f"b-{uuid4().hex[:8]}"}
        if self._array is not None and self._array.at_once is not None:
            given = {**given, "key": f"{BATCH_PREFIX}{given['batch']}", "key_limit": self._array.at_once}
        self.batch: str | None = given.get("batch")
        self._options = given
        self._command = command
        self._template = None
        if command is not None and (request.array is not None or request.each is not None):
            self._template = Template(command, of_lines=request.each is not None)
        filled: set[str] = set()
        if self._template is not None:
            filled = {key for key, value in given.items() if key in sources.FILLED and sources.has_place(value)}
        own = filled | (NOT_OF_FOLLOWERS & given.keys() if request.followers else set())
        self._own = {key: given[key] for key in own}
        self.defaults = {**self._around, **{key: value for key, value in given.items() if key not in own}}
        for key in filled & {"labels", "env"}:  # what has no place in it is also of those that follow
            self.defaults[key] = {name: each for name, each in given[key].items() if not sources.has_place(each)}
        sources.settle_cwd(self.defaults, self._around["cwd"])

    def items(self, file: BinaryIO | None) -> Iterator[UploadItem]:
        """Yield all jobs, then their follow-up jobs (`--then`), if there was any job."""
        followers: Sequence[tuple[str, str]] = ()
        for item in self._source_items(file):
            followers = self._request.followers
            slots = item.job.get("slots") or self.defaults.get("slots")
            self.slots = max(self.slots, slots if isinstance(slots, int) else 1)
            yield item
        for text, on in followers:
            job = command_of((text,), shell=self._shell, lenient=self._lenient, say=self._invocation.say)
            named = [*(job.get("depends_on") or ()), {"id": f"{BATCH_PREFIX}{self.batch}", "on": on}]
            yield UploadItem({**job, "depends_on": named}, len(text), f"--then {text!r}")

    def again(self, file: BinaryIO | None) -> Callable[[], Iterator[UploadItem]] | None:
        """A function that yields the items again, or None where the source cannot be reread. Call it before `items`."""
        if file is None:
            return lambda: self.items(None)
        if not file.seekable():
            return None
        start = file.tell()

        def from_the_start() -> Iterator[UploadItem]:
            file.seek(start)
            return self.items(file)

        return from_the_start

    def _source_items(self, file: BinaryIO | None) -> Iterator[UploadItem]:
        if self._request.file is not None and file is not None:
            say, here = self._invocation.say, self._around["cwd"]
            how = {"shell": self._shell, "lenient": self._lenient, "new_ids": self._request.new_ids}
            return sources.of_file(file, self._options, self._own, here, say, **how)
        if self._array is not None and self._template is not None:
            return sources.of_array(self._array, self._template, self._own | self._env(), self._around["cwd"])
        if self._template is not None and file is not None:
            separator = b"\0" if self._request.null else b"\n"
            return sources.of_lines(file, separator, self._template, self._own, self._around["cwd"])
        return iter([UploadItem({"command": self._command, **self._own}, 0, "the command")])

    def _env(self) -> JobMap:
        return {"env": self._options["env"]} if "env" in self._options else {}


def enqueue_many(
    invocation: Invocation, request: BulkRequest, options: JobMap, *, shell: bool, lenient: bool, wait: bool
) -> int:  # fmt: skip
    """Store all of them or none, tell their ids and their batch; with `wait` exit as the first that failed."""
    _refuse_together(request, options)
    plan = _Plan(invocation, request, options, shell=shell, lenient=lenient)
    source = request.file if request.file is not None else request.each
    with _opened(source) as file:
        steps = upload(plan.items(file), plan.defaults, Stored, plan.again(file))
        with _naming_the_way_out(request.file, new_ids=request.new_ids):
            stored = invocation.client().run(steps)
    if not stored.count:
        if invocation.json:
            invocation.document([])
        invocation.say("Nothing enqueued: no line has a command.")
        return 0
    if not (wait and invocation.json):
        announce_all(invocation, stored)
    if plan.batch is not None and "batch" not in options:
        invocation.say(f"They are batch {plan.batch}. Wait for it with: queuectl wait batch:{plan.batch}")
    if "id" in options:
        tell_what_id_hides(invocation, options["id"].replace(PLACE, "1"))
    tell_hint(invocation, stored.hint, plan.slots)
    if wait:
        from queuectl_client.cli.commands.wait import wait_for

        announced = stored.hint is not None and not stored.hint["workers"]
        return wait_for(invocation, list(stored.spans()), exit_status=True, announced=announced)
    return 0


@contextmanager
def _naming_the_way_out(file: str | None, *, new_ids: bool) -> Iterator[None]:
    """A taken id in a file was most likely printed by `list` or `show`: the error names the option for that."""
    try:
        yield
    except Conflict as error:
        if file is None or new_ids or "id" not in error.data or "key" in error.data:
            raise
        raise Conflict(f"{error.message.removesuffix('.')}; to give each job a new id: --new-ids", error.data) from None


def _refuse_together(request: BulkRequest, options: JobMap) -> None:
    sources = [f"--{name}" for name in ("file", "array", "each") if getattr(request, name) is not None]
    if len(sources) > 1:
        raise click.UsageError(f"{' and '.join(sources)} are mutually exclusive")
    if request.file is not None and request.command:
        raise click.UsageError("-f FILE cannot be combined with COMMAND")
    if "id" in options and sources and (request.file is not None or PLACE not in options["id"]):
        raise click.UsageError(
            f"--id names one job, but {'-f FILE' if request.file else sources[0]} adds many"
            + (f"; put {PLACE} into it to tell them apart" if request.file is None else "")
        )
    if request.null and request.each is None:
        raise click.UsageError("-0 requires --each")


def _opened(name: str | None) -> AbstractContextManager[BinaryIO | None]:
    if name is None:
        return nullcontext(None)
    if name == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return open(name, "rb")
    except OSError as error:
        raise InvalidParams(f"{name}: {error.strerror}") from None


def _is_place(request: BulkRequest) -> bool:
    """Whether the command begins with the place of the item, which is no JSON."""
    return bool(request.command) and request.command[0].lstrip().startswith(PLACE)
