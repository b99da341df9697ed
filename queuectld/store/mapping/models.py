"""The tables, as Peewee models. They define the schema and, with it, every query of this package.

Peewee builds the SQL; the writer and the reader execute it on connections of their own, so the
database below is never opened. Text that may not be UTF-8 is in columns of type ANY: TEXT where it
is UTF-8, else BLOB. Maps and lists that nobody searches by SQL are MessagePack; the others JSON.
"""

from collections.abc import Iterable
from typing import Final

from peewee import (
    SQL,
    BlobField,
    Check,
    CompositeKey,
    Field,
    FloatField,
    IntegerField,
    Model,
    SqliteDatabase,
    TextField,
)

from queuectl_client.protocol.vocabulary import ENDED_STATES, JobState
from queuectld.domain.states import CLAIMABLE

DIALECT: Final = SqliteDatabase(None)
"""Knows how SQLite spells a query; holds no connection."""


def one_of(states: Iterable[JobState]) -> str:
    """That the state is one of these, as SQL has it.

    Literal, because a partial index is used only when its terms stand in the query. Not with IN: for more than
    two words SQLite builds a table of them at every row it checks, which cost more than the insert itself.
    """
    return "(" + " OR ".join(f"state = '{state}'" for state in sorted(states)) + ")"


def none_of(states: Iterable[JobState]) -> str:
    """That the state is none of these, as SQL has it."""
    return "(" + " AND ".join(f"state <> '{state}'" for state in sorted(states)) + ")"


WAITS_FOR_STORE_TIME: Final = f"due_ms IS NOT NULL AND batch IS NULL AND {one_of(CLAIMABLE)}"
WAITS_FOR_WALL_TIME: Final = (
    "run_at_ms IS NOT NULL AND lane IS NULL AND due_ms IS NULL AND batch IS NULL AND in_line = 0 AND state = 'pending'"
)
ADMITTED: Final = "key IS NOT NULL AND lane IS NOT NULL"
"""Jobs with a key that are in their lane: no more of one key than its limit."""
LISTED_STATES: Final = frozenset({JobState.FAILED, JobState.DEAD, JobState.HELD, JobState.BLOCKED})
"""States with an index of their own: few of many jobs are in one, and people ask for exactly these."""
HOLDS_KEY: Final = f"unique_key IS NOT NULL AND {none_of(ENDED_STATES)}"


HAS_CODE: Final = "(reason IS NULL) = (reason_code IS NULL) AND (reason IS NULL OR instr(reason, reason_code) = 1)"
"""A reason has a code and words, which begin with it."""


class AnyField(Field):
    """A column that keeps what it is given: text, or bytes that are not UTF-8."""

    field_type = "ANY"


class Record(Model):
    """What all tables share."""

    class Meta:
        database = DIALECT
        strict_tables = True
        legacy_table_names = False


class Meta(Record):
    """Small values of the store itself: sequence numbers, flags, the time anchor. JSON."""

    key = TextField(primary_key=True)
    value = TextField()

    class Meta:
        without_rowid = True


class Config(Record):
    """Settings that were set. JSON."""

    key = TextField(primary_key=True)
    value = TextField()

    class Meta:
        without_rowid = True


class Queue(Record):
    """A queue, from when it is first named."""

    id = IntegerField(primary_key=True)
    name = TextField(unique=True)
    paused = IntegerField(default=0)
    paused_because = TextField(null=True)
    concurrency = IntegerField(null=True)
    rate = TextField(null=True)
    starts = TextField(null=True)
    """Times (store time) of the starts that still count against the rate. JSON."""
    failure_limit = IntegerField(null=True)
    failures = IntegerField(default=0)
    """Executions that failed one after the other, none having succeeded since."""


class Lane(Record):
    """A small number for the jobs of one queue that need the same: they wait in one line."""

    id = IntegerField(primary_key=True)
    queue = IntegerField()
    needs = TextField()

    class Meta:
        indexes = ((("queue", "needs"), True),)


class Environment(Record):
    """An environment, once for all jobs that were submitted with it; the row goes with the last of them.

    Ids are never used again: a worker keeps environments that it has seen by their ids.
    """

    id = IntegerField(primary_key=True, constraints=[SQL("AUTOINCREMENT")])
    digest = BlobField(unique=True)
    jobs = IntegerField()
    body = BlobField()

    class Meta:
        constraints = [Check("jobs >= 0")]  # noqa: RUF012


class Upload(Record):
    """An upload: `open` and hidden, `committed` while its jobs enter their lanes, or `discarded`."""

    id = IntegerField(primary_key=True)
    token = TextField(unique=True)
    state = TextField()
    added = IntegerField(default=0)
    first_seq = IntegerField(default=0)
    last_seq = IntegerField(default=0)
    swept_seq = IntegerField(default=0)
    created_ms = IntegerField()

    class Meta:
        table_name = "batch"
        constraints = [Check("state IN ('open', 'committed', 'discarded')")]  # noqa: RUF012


class Batch(Record):
    """A named batch: `open_jobs` have not ended, `failed` ended but not completed. Deleted with its last job."""

    id = IntegerField(primary_key=True)
    name = TextField(unique=True)
    jobs = IntegerField(default=0)
    open_jobs = IntegerField(default=0)
    failed = IntegerField(default=0)

    class Meta:
        table_name = "bundle"
        constraints = [Check("0 <= open_jobs AND open_jobs <= jobs AND 0 <= failed")]  # noqa: RUF012


class Job(Record):
    """A job. Columns that a claim or an end changes come first, then those that are fixed on enqueue.

    Columns added by a migration come last, where `ALTER TABLE` puts them.
    """

    seq = IntegerField(primary_key=True)
    id = TextField(unique=True)
    state = TextField()
    queue = IntegerField()
    priority = IntegerField()
    rank = FloatField()
    lane = IntegerField(null=True)
    in_line = IntegerField()
    """1 while only other jobs of its key keep it out of its lane."""
    upload = IntegerField(null=True, column_name="batch")
    """The open upload that hides the job. The column kept its name when named batches took the term."""
    due_ms = IntegerField(null=True)
    run_at_ms = IntegerField(null=True)
    attempts = IntegerField()
    run = IntegerField()
    runs = IntegerField()
    crashes = IntegerField()
    worker = IntegerField(null=True)
    ending = IntegerField(null=True)
    paused = IntegerField()
    created_ms = IntegerField()
    updated_ms = IntegerField()
    started_ms = IntegerField(null=True)
    finished_ms = IntegerField(null=True)
    exit_code = IntegerField(null=True)
    signal = IntegerField(null=True)
    reason = TextField(null=True)
    granted = TextField(null=True)
    max_retries = IntegerField()
    backoff_base = FloatField()
    backoff_max = FloatField()
    backoff_jitter = FloatField()
    retry_on = TextField(null=True)
    no_retry_on = TextField(null=True)
    timeout_ms = IntegerField(null=True)
    stall_timeout_ms = IntegerField(null=True)
    kill_grace_ms = IntegerField()
    umask = IntegerField()
    once = IntegerField()
    split_output = IntegerField()
    stdin_open = IntegerField()
    batch_id = IntegerField(null=True, column_name="bundle")
    """The named batch. The column has the name that version 1 had for batches."""
    unique_key = TextField(null=True)
    on_conflict = TextField()
    key = TextField(null=True)
    key_limit = IntegerField()
    slots = IntegerField()
    needs = TextField(null=True)
    name = TextField(null=True)
    labels = TextField(null=True)
    depends_on = TextField(null=True)
    environment = IntegerField()
    cwd = AnyField()
    command = AnyField(null=True)
    argv = BlobField(null=True)
    env = BlobField(null=True)
    stdin = AnyField(null=True)
    reason_code = TextField(null=True, constraints=[Check(HAS_CODE)])

    class Meta:
        constraints = [  # noqa: RUF012
            Check(one_of(JobState)),
            Check("(state = 'processing') = (worker IS NOT NULL)"),
            Check(f"lane IS NULL OR ({one_of(CLAIMABLE)} AND due_ms IS NULL AND batch IS NULL)"),
            Check(
                f"in_line = 0 OR (in_line = 1 AND key IS NOT NULL AND lane IS NULL AND {one_of(CLAIMABLE)}"
                " AND due_ms IS NULL AND batch IS NULL)"
            ),
            Check(f"due_ms IS NULL OR {one_of(LISTED_STATES - {JobState.DEAD} | {JobState.PENDING})}"),
            Check("ending IS NULL OR state = 'cancelled'"),
            Check("paused = 0 OR state = 'processing'"),
            Check("state <> 'failed' OR attempts > 0"),
            Check(f"finished_ms IS NOT NULL OR {none_of(ENDED_STATES)}"),
            Check("0 <= runs AND runs <= run AND 0 <= attempts AND 0 <= crashes"),
            Check("(command IS NULL) <> (argv IS NULL)"),
        ]


Job.add_index(SQL("CREATE INDEX job_ready ON job (lane, priority DESC, rank) WHERE lane IS NOT NULL"))
Job.add_index(SQL(f"CREATE INDEX job_due ON job (due_ms) WHERE {WAITS_FOR_STORE_TIME}"))
Job.add_index(SQL(f"CREATE INDEX job_run_at ON job (run_at_ms) WHERE {WAITS_FOR_WALL_TIME}"))
Job.add_index(SQL("CREATE INDEX job_worker ON job (worker) WHERE worker IS NOT NULL"))
Job.add_index(SQL("CREATE INDEX job_ending ON job (ending) WHERE ending IS NOT NULL"))
Job.add_index(SQL(f"CREATE INDEX job_listed ON job (state, seq) WHERE {one_of(LISTED_STATES)}"))
Job.add_index(SQL("CREATE INDEX job_in_line ON job (key, priority DESC, rank) WHERE in_line = 1"))
Job.add_index(SQL(f"CREATE INDEX job_let_in ON job (key, priority, rank DESC) WHERE {ADMITTED}"))
Job.add_index(SQL("CREATE INDEX job_bundle ON job (bundle, seq) WHERE bundle IS NOT NULL"))
Job.add_index(SQL(f"CREATE UNIQUE INDEX job_unique_key ON job (unique_key) WHERE {HOLDS_KEY}"))


class Dependency(Record):
    """A child that still waits for a parent's end. The row goes when the parent has ended.

    A negative parent is a batch.
    """

    parent = IntegerField()
    child = IntegerField(index=True)
    on = TextField()

    class Meta:
        primary_key = CompositeKey("parent", "child")
        without_rowid = True
        constraints = [Check("\"on\" IN ('any', 'completed', 'dead')")]  # noqa: RUF012


class Forward(Record):
    """A child that names a job which is to come later in the same open batch."""

    upload = IntegerField(column_name="batch")
    parent_id = TextField()
    child = IntegerField()
    on = TextField()

    class Meta:
        primary_key = CompositeKey("upload", "parent_id", "child")
        without_rowid = True
        constraints = [Check("\"on\" IN ('any', 'completed', 'dead')")]  # noqa: RUF012


class Resolving(Record):
    """A parent that has ended in `state` while some of its children have not been told yet."""

    parent = IntegerField(primary_key=True)
    parent_id = TextField()
    state = TextField()


class Attempt(Record):
    """One execution that has ended, and where its output is. Written once."""

    seq = IntegerField()
    run = IntegerField()
    attempt = IntegerField()
    worker = IntegerField(null=True)
    host = TextField()
    started_ms = IntegerField()
    finished_ms = IntegerField()
    duration_ms = IntegerField()
    exit_code = IntegerField(null=True)
    signal = IntegerField(null=True)
    reason = TextField(null=True)
    crashed = IntegerField()
    pid = IntegerField(null=True)
    user_us = IntegerField(null=True)
    system_us = IntegerField(null=True)
    max_rss_kib = IntegerField(null=True)
    left_behind = AnyField(null=True)
    output = BlobField(null=True)
    reason_code = TextField(null=True, constraints=[Check(HAS_CODE)])

    class Meta:
        primary_key = CompositeKey("seq", "run")
        without_rowid = True
        constraints = [Check("duration_ms >= 0")]  # noqa: RUF012


class Count(Record):
    """How many jobs are so. `batch` is 0 for visible jobs, else the open batch that hides them."""

    upload = IntegerField(column_name="batch")
    queue = IntegerField()
    state = TextField()
    ready = IntegerField()
    n = IntegerField()

    class Meta:
        primary_key = CompositeKey("upload", "queue", "state", "ready")
        without_rowid = True
        constraints = [Check("n >= 0")]  # noqa: RUF012


class Event(Record):
    """What happened, in the order of the commits. Only the newest are kept."""

    event_seq = IntegerField(primary_key=True)
    time_ms = IntegerField()
    kind = TextField()
    job_id = TextField(null=True)
    seq = IntegerField(null=True)
    queue = TextField(null=True)
    run = IntegerField(null=True)
    worker = IntegerField(null=True)
    detail = BlobField(null=True)


class Request(Record):
    """The answer to a request that may be asked again, for a day. Rows are in the order of their time."""

    n = IntegerField(primary_key=True)
    id = TextField(unique=True)
    verb = TextField()
    answer = BlobField()
    created_ms = IntegerField()


class Pool(Record):
    """A pool of workers. Ids are never used again."""

    id = IntegerField(primary_key=True, constraints=[SQL("AUTOINCREMENT")])
    kind = TextField()
    wanted = IntegerField()
    job_seq = IntegerField(null=True)
    created_ms = IntegerField()

    class Meta:
        constraints = [Check("kind IN ('detached', 'foreground', 'job')"), Check("wanted >= 0")]  # noqa: RUF012


class Worker(Record):
    """A worker that was added and has not ended. Ids are never used again."""

    id = IntegerField(primary_key=True, constraints=[SQL("AUTOINCREMENT")])
    pool = IntegerField()
    number = IntegerField()
    host = TextField()
    pid = IntegerField(null=True)
    start_time = IntegerField(null=True)
    boot_id = TextField(null=True)
    started_ms = IntegerField()


TABLES: Final = (
    Meta, Config, Queue, Lane, Environment, Upload, Batch, Job, Dependency, Forward, Resolving, Attempt, Count, Event,
    Request, Pool, Worker,
)  # fmt: skip
