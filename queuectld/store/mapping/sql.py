"""SQL fragments that Peewee cannot express, or builds more slowly than the query runs.

Used in queries over one table, which Peewee names t1.
"""

from typing import Final

from peewee import SQL

from queuectld.store.mapping.models import Job

VISIBLE: Final = SQL("(batch IS NULL OR batch NOT IN (SELECT id FROM batch WHERE state <> 'committed'))")
"""The job is not hidden by an open upload. There are few uploads; SQLite lists them once for a query."""
AMONG_SEQS: Final = SQL('"t1"."seq" IN (SELECT value FROM json_each(:seqs))')
"""The job's number is in a JSON list, of any length: a list of parameters is limited, and another statement each."""
AMONG_IDS: Final = SQL('"t1"."id" IN (SELECT value FROM json_each(:ids))')
WORKED_ON: Final = SQL("seq IN (SELECT seq FROM job WHERE worker IS NOT NULL)")
"""A worker has the job: by the small index job_worker, then in order of the numbers."""
NAMES: Final = (
    SQL('(SELECT name FROM queue WHERE id = "t1"."queue")'),
    SQL('(SELECT name FROM bundle WHERE id = "t1"."bundle")'),
)
"""The names of the job's queue and batch. Not a join, so that SQLite cannot start from the queues."""
WHOLE_JOB: Final = SQL(", ".join([
    *(f'"t1"."{column.column_name}"' for column in Job._meta.sorted_fields), *(name.sql for name in NAMES)
]))  # fmt: skip
"""All that `rows.read_job` wants, as one text: to put so many columns together takes longer than to read a row."""
