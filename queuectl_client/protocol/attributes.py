"""Table of the attributes of a job, in display order, with all metadata of each.

Derived from it: the checks of a job's keys (`jobspec`), the keys that filters compare and pages show, the keys that
`edit` changes, the options of `enqueue` and `run`, the file of `edit`, completion candidates, and the ranges of the
settings for defaults. It contains no checks, so that `enqueue` need not import them to build its options.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple


class ValueKind(StrEnum):
    """Type of the values of a key, which determines what they can be compared with."""

    TEXT = "text"
    NUMBER = "number"
    DURATION = "duration"
    TIME = "time"
    STATE = "state"
    SIGNAL = "signal"
    REASON = "reason"
    WORKER = "worker"
    FLAG = "flag"


class Form:
    """Type of a value on the wire. Plain strings, because creating an enumeration takes as long as the whole table."""

    COMMAND = "command"
    ID = "id"
    QUEUE = "queue"
    TEXT = "text"
    WORD = "word"
    ANY_TEXT = "any text"
    """May be invalid UTF-8."""
    FOLDER = "folder"
    WHOLE = "whole"
    NUMBER = "number"
    SECONDS = "seconds"
    TIME = "time"
    FLAG = "flag"
    CODES = "codes"
    JOBS = "jobs"
    LABELS = "labels"
    AMOUNTS = "amounts"
    VARIABLES = "variables"
    STATE = "state"
    SIGNAL = "signal"
    REASON = "reason"
    WORKER = "worker"
    LISTED = "listed"
    """A list of names, or a map of names to numbers; output only."""


class Attribute(NamedTuple):
    """One attribute of a job."""

    name: str
    form: str
    kind: ValueKind | None = None
    """The type for filters, sorting and pages of keys; None: not available there."""
    shown: bool = True
    given: bool = False
    """Whether it can be set on enqueue."""
    editable: bool = False
    required: bool = False
    """Whether an edit cannot remove it."""
    default: Any = None
    """The default, also after an edit removes it."""
    setting: bool = False
    """Whether its default is the setting of the same name."""
    low: float = 0
    high: float = 0
    """Minimum and maximum of a number; maximum length of a text."""
    zero: bool = False
    """Whether a duration may be 0."""
    words: tuple[str, ...] = ()
    field: str = ""
    """Its name inside the daemon, and its column; times are in milliseconds there."""
    heading: str = ""
    """Heading of its option in the help; empty: it has no option."""
    option: str = ""
    short: str = ""
    """Short form of its option. The letter has no other meaning for the verbs that describe jobs."""
    metavar: str | None = None
    help: str = ""
    comment: str = ""
    """Comment above it in the file that `edit` opens; default: `help`."""
    example: Any = None


IDENTITY: Final = "Identity"
SCHEDULING: Final = "Scheduling and dependencies"
CONCURRENCY: Final = "Concurrency and resources"
RETRIES: Final = "Timeouts and retries"
ENVIRONMENT: Final = "Environment and I/O"
HEADINGS: Final = (IDENTITY, SCHEDULING, CONCURRENCY, RETRIES, ENVIRONMENT)

KIND_OF_FORM: Final[Mapping[str, ValueKind]] = {
    **dict.fromkeys((Form.COMMAND, Form.ID, Form.QUEUE, Form.TEXT, Form.WORD), ValueKind.TEXT),
    **dict.fromkeys((Form.ANY_TEXT, Form.FOLDER), ValueKind.TEXT),
    **dict.fromkeys((Form.WHOLE, Form.NUMBER), ValueKind.NUMBER),
    Form.SECONDS: ValueKind.DURATION,
    Form.TIME: ValueKind.TIME,
    Form.FLAG: ValueKind.FLAG,
    Form.STATE: ValueKind.STATE,
    Form.SIGNAL: ValueKind.SIGNAL,
    Form.REASON: ValueKind.REASON,
    Form.WORKER: ValueKind.WORKER,
}


def _output(name: str, form: str, **known: Any) -> Attribute:
    """Return an attribute that the daemon sets."""
    return Attribute(name, form, **{"kind": KIND_OF_FORM.get(form), "field": _field(name, form), **known})


def _input(name: str, form: str, heading: str = "", help: str = "", **known: Any) -> Attribute:
    """Return an attribute that is set on enqueue and, unless fixed, changed by `edit`."""
    usual = {"editable": True, "option": f"--{name.replace('_', '-')}", **known}
    return _output(name, form, given=True, heading=heading, help=help, **usual)


def _field(name: str, form: str) -> str:
    return f"{name.removesuffix('_at')}_ms" if form in (Form.SECONDS, Form.TIME) else name


ATTRIBUTES: Final[Mapping[str, Attribute]] = {attribute.name: attribute for attribute in (
    _input("id", Form.ID, IDENTITY, "Job ID; default job_N.", editable=False),
    _output("seq", Form.WHOLE),
    _input(
        "command", Form.COMMAND, required=True, example="make test",
        comment="A shell command, or a list: a program and its arguments, without a shell.",
    ),
    _output("state", Form.STATE),
    _output("attempts", Form.WHOLE),
    _input(
        "max_retries", Form.WHOLE, RETRIES, "Maximum number of executions; 0 and 1 both mean one.",
        high=1000, setting=True, example=3, short="-r",
    ),
    _output("created_at", Form.TIME),
    _output("updated_at", Form.TIME),
    _input(
        "queue", Form.QUEUE, IDENTITY, "Queue; default: default.", default="default",
        comment="The queue.", example="default", short="-Q",
    ),
    _input(
        "priority", Form.WHOLE, IDENTITY, "Higher runs first.", low=-1_000_000, high=1_000_000, default=0, example=0,
        short="-p",
    ),
    _input(
        "delay", Form.SECONDS, SCHEDULING, "Start no earlier than this long from now: 90s, 1h30m.", zero=True,
        default=0, kind=None, shown=False,
    ),
    _input(
        "run_at", Form.TIME, SCHEDULING, "Start no earlier than this time: 18:00, 'tomorrow 09:00', +10m, ISO 8601.",
        field="run_at_ms",
        comment="Start no earlier than this time.", example="2030-01-01T09:00:00Z",
    ),
    _output("started_at", Form.TIME),
    _output("finished_at", Form.TIME),
    _output("exit_code", Form.WHOLE),
    _output("signal", Form.SIGNAL),
    _output("reason", Form.TEXT),
    _output("reason_code", Form.REASON),
    _output("worker", Form.WORKER),
    _input(
        "cwd", Form.FOLDER, ENVIRONMENT, "Working folder; default: the current one.", required=True,
        comment="Working folder.", example="/tmp", short="-w",
    ),
    _input(
        "env", Form.VARIABLES, ENVIRONMENT, "Set an environment variable; repeatable.", shown=False, default={},
        comment="Variables added to its environment. true keeps a value, which is not shown.",
        example={"MODE": "fast"}, short="-e",
    ),
    _input("stdin", Form.ANY_TEXT, ENVIRONMENT, "Text for stdin; default: empty.", kind=None, shown=False),
    _input("name", Form.TEXT, IDENTITY, "A display name.", high=1024, example="nightly", short="-n"),
    _input(
        "labels", Form.LABELS, IDENTITY, "A label; repeatable.", option="--label", default={},
        comment="Labels, for selecting jobs.", example={"user": "ada"}, short="-l",
    ),
    _input(
        "depends_on", Form.JOBS, SCHEDULING,
        "Run after ID has completed; repeatable. ID may be last, 3-9, label:K=V, batch:NAME.",
        option="--after", default=(), example=["job_1", "job_2:any"],
        comment='Run after these jobs: "job_1" (success), "job_1:dead" or "job_1:any".', short="-a",
    ),
    _input("timeout", Form.SECONDS, RETRIES, "Terminate an execution that runs longer.", setting=True, example=600),
    _input(
        "stall_timeout", Form.SECONDS, RETRIES, "Terminate an execution without output for this long.",
        setting=True, example=60,
        comment="Terminate an execution without output for this long.",
    ),
    _input("kill_grace", Form.SECONDS, RETRIES, "Time between TERM and KILL.", setting=True, example=10),
    _output("runs", Form.WHOLE),
    _output("crashes", Form.WHOLE),
    _input(
        "backoff_base", Form.NUMBER, RETRIES, "Wait N, N*N, N*N*N … seconds between executions.", low=1, high=1000,
        setting=True, example=2,
    ),
    _input(
        "backoff_max", Form.SECONDS, RETRIES, "Maximum wait between executions.", zero=True, setting=True,
        kind=ValueKind.NUMBER, field="backoff_max", example=3600,
    ),
    _input(
        "backoff_jitter", Form.NUMBER, RETRIES, "Shorten each wait randomly by up to this share, 0 to 1.",
        high=1, setting=True,
        metavar="SHARE", comment="Shorten each wait randomly by up to this share.", example=0.1,
    ),
    _input(
        "retry_on", Form.CODES, RETRIES, "Retry only after these exit codes or signals: tempfail,KILL,3.", default=(),
        comment="Retry only after these exit codes or signals.", example=[75, "SIGKILL"],
    ),
    _input(
        "no_retry_on", Form.CODES, RETRIES, "Do not retry after these exit codes or signals.", default=(),
        comment="Do not retry after these exit codes or signals.", example=[2],
    ),
    _input(
        "batch", Form.ID, IDENTITY, "Batch; other jobs can wait for batch:NAME.", editable=False, metavar="NAME",
    ),
    _input(
        "unique_key", Form.TEXT, CONCURRENCY, "Allow only one waiting or running job with this key.",
        high=1024, editable=False,
        option="--unique", metavar="KEY",
    ),
    _input(
        "on_conflict", Form.WORD, CONCURRENCY, "What to do when the unique key is in use.", kind=None, editable=False,
        words=("error", "skip", "replace"), default="error",
    ),
    _input(
        "key", Form.TEXT, CONCURRENCY, "Concurrency key: jobs with the same key run one at a time.",
        high=1024, metavar="KEY",
        example="customer-7",
    ),
    _input(
        "key_limit", Form.WHOLE, CONCURRENCY, "Maximum number of jobs of the key at once.",
        low=1, high=1_000_000, default=1, example=1,
    ),
    _input("slots", Form.WHOLE, CONCURRENCY, "Number of worker slots.", low=1, high=1_000_000, default=1, example=1),
    _input(
        "needs", Form.AMOUNTS, CONCURRENCY, "Resources to reserve: gpu=1,mem=4G; repeatable.", default={},
        comment="Resources to reserve.", example={"gpu": 1},
    ),
    _output("granted", Form.LISTED),
    _input(
        "hold", Form.FLAG, SCHEDULING, "Hold the job until it is released.", editable=False, default=False,
        short="-H",
    ),
    _input(
        "once", Form.FLAG, RETRIES, "Never run it again after a crash.", default=False, example=False,
    ),
    _output("paused", Form.FLAG),
    _output("ready", Form.FLAG),
    _input(
        "split_output", Form.FLAG, ENVIRONMENT, "Keep stdout and stderr in separate streams.", setting=True,
        example=False,
    ),
    _input(
        "stdin_open", Form.FLAG, ENVIRONMENT, "Keep stdin open for queuectl send.", kind=None, editable=False,
        default=False,
    ),
    _output("umask", Form.WHOLE, kind=None),
    _output("env_names", Form.LISTED),
    _output("stdin_bytes", Form.WHOLE, kind=None),
    _output("run", Form.WHOLE, kind=None),
    _output("rev", Form.WHOLE, kind=None),
    _output("duration", Form.SECONDS, shown=False),
    _output("age", Form.SECONDS, shown=False),
)}  # fmt: skip
"""By name. `duration`: of the newest run, so far or in total; `age`: time since the job was enqueued."""

GIVEN: Final = {name: attribute for name, attribute in ATTRIBUTES.items() if attribute.given}
"""The keys that can be set on enqueue."""
EDITABLE: Final = {name: attribute for name, attribute in GIVEN.items() if attribute.editable}
"""The keys that `edit` may change; the others are fixed on enqueue."""
SHOWN: Final = tuple(name for name, attribute in ATTRIBUTES.items() if attribute.shown)
"""The keys of a job in output, in order."""
KINDS: Final = {name: kind for name, attribute in ATTRIBUTES.items() if (kind := attribute.kind) is not None}
"""The keys to filter and sort by, with their types."""
COMPUTED: Final = frozenset({"duration", "age"})
"""Keys computed from the current time, which jobs in output do not have."""


def of_form(*forms: str) -> frozenset[str]:
    """Return the names of the input attributes of these forms."""
    return frozenset(name for name, attribute in GIVEN.items() if attribute.form in forms)


MAPS: Final = of_form(Form.LABELS, Form.AMOUNTS, Form.VARIABLES)
