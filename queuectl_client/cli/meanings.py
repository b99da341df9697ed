"""Suggestions for unknown verbs, such as those of pueue, task-spooler, docker, systemctl, gh, Slurm and at.

Imported only for an unknown verb. A word that is not in the table is compared by its letters. A destructive verb is
suggested only if the word is nearly equal to it.
"""

from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from typing import Final

DESTROYING: Final = frozenset({"cancel", "kill", "rm", "prune", "purge", "stop", "unset"})
"""Verbs that end, remove or reset something."""
_NEAR: Final = 0.6
_NEARLY_THE_SAME: Final = 0.78
"""For a verb that destroys, and for the words of other programs."""
_LONGEST: Final = 60


def _each(words: str, *meant: str) -> dict[str, tuple[str, ...]]:
    return dict.fromkeys(words.split(), meant)


VERBS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "": {
        **_each("delete remove del erase discard atrm", "rm ID"),
        **_each("clean cleanup clear gc vacuum", "prune"),
        **_each("reset", "cancel all", "prune"),
        **_each("purge flush", "dlq purge", "prune"),
        **_each("abort terminate end scancel qdel dequeue", "cancel ID"),
        **_each("killall kill-all", "cancel all"),
        **_each("start", "worker start", "daemon start", "release ID"),
        **_each("stop", "worker stop", "daemon stop", "cancel ID"),
        **_each("up launch", "worker start"),
        **_each("down shutdown quit exit halt", "daemon stop"),
        **_each("server service serve", "daemon start", "daemon status"),
        **_each("reload", "daemon restart"),
        **_each("enable disable install", "daemon --help"),
        **_each("drain", "daemon drain"),
        **_each("group groups queues partition partitions pool", "queue list"),
        **_each("parallel scale slots concurrency", "worker scale N"),
        **_each("workers sinfo", "worker list"),
        **_each("top htop watch monitor", "list --watch"),
        **_each("jobs tasks squeue qstat atq sacct history list-units queue-list processes find search", "list"),
        **_each("failed failures errors is-failed", "list --state failed,dead"),
        **_each("running active is-active", "list --state processing"),
        **_each("dead-letter deadletter dead-letters", "dlq list"),
        **_each("info view describe details detail stat display", "show ID"),
        **_each("cat output out stdout stderr head journal journalctl print", "logs ID"),
        **_each("tail", "logs ID -n 20", "follow ID"),
        **_each("attach fg", "follow ID"),
        **_each("stats count counts summary overview", "status"),
        **_each("rerun requeue resubmit redo replay again repeat relaunch", "retry ID"),
        **_each("push put new create sbatch qsub at batch spool queue-job bg nq ts tsp", "enqueue COMMAND"),
        **_each("exec execute srun do", "run COMMAND"),
        **_each("delay later", "enqueue --delay 10m COMMAND"),
        **_each("stash qhold park freeze", "hold ID"),
        **_each("unhold unstash qrls unblock", "release ID"),
        **_each("suspend", "pause ID", "hold ID"),
        **_each("unpause continue cont unsuspend thaw", "resume ID"),
        **_each("switch swap reorder urgent bump promote first", "move ID --first"),
        **_each("priority prio renice nice", "edit ID priority=N"),
        **_each("rename", "edit ID name=NAME"),
        **_each("env", "edit ID env.NAME=VALUE"),
        **_each("update modify change alter set-property scontrol qalter", "edit ID KEY=VALUE"),
        **_each("signal", "kill ID -s SIGNAL"),
        **_each("write input stdin type", "send ID TEXT"),
        **_each("why reason", "explain ID"),
        **_each("settings setting configure options preferences", "config list"),
        **_each("set", "config set KEY VALUE", "queue set NAME"),
        **_each("get", "config get KEY", "show ID"),
        **_each("unset", "config unset KEY"),
        **_each("check health diagnose verify fsck repair", "doctor"),
        **_each("dump", "list --json", "backup FILE"),
        **_each("completions", "completion SHELL"),
        **_each("version", "--version"),
        **_each("help man usage", "--help"),
        **_each("listen log-events subscribe", "events --follow"),
    },
    "queue": {
        **_each("ls show info status view", "list"),
        **_each("create new add make limit edit update parallel concurrency", "set NAME --concurrency N"),
        **_each("rate throttle", "set NAME --rate 10/m"),
        **_each("stop hold close disable", "pause NAME"),
        **_each("start unpause continue open release enable cont", "resume NAME"),
        **_each("delete remove del drop", "rm NAME"),
    },
    "dlq": {
        **_each("ls", "list"),
        **_each("inspect info view get", "show ID"),
        **_each("requeue redrive replay restart rerun resubmit release run", "retry ID"),
        **_each("delete remove del rm clear drop clean prune empty flush", "purge ID"),
    },
    "worker": {
        **_each("ls ps show info status view", "list"),
        **_each("add up run new launch create spawn", "start"),
        **_each("kill down rm remove delete del shutdown end quit drain", "stop"),
        **_each("count set parallel resize number slots", "scale N"),
    },
    "config": {
        **_each("ls show all", "list"),
        **_each("add edit change update put write", "set KEY VALUE"),
        **_each("read cat view print", "get KEY"),
        **_each("rm del delete remove reset clear", "unset KEY"),
    },
    "daemon": {
        **_each("run serve up launch", "start"),
        **_each("kill down shutdown quit exit halt end terminate", "stop"),
        **_each("reload upgrade", "restart"),
        **_each("info ps show ls list ping health", "status"),
        **_each("log tail journal output cat", "logs"),
        **_each("pause hold", "drain"),
        **_each("resume continue unpause undrain", "drain --resume"),
    },
}
"""By noun ("" for none) and word: the suggested forms, as typed after the noun."""

OPTIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "-l": ("list",), "-i": ("show ID",), "-c": ("logs ID",), "-t": ("follow ID",), "-w": ("wait ID",),
    "-r": ("rm ID",), "-k": ("cancel ID",), "-K": ("daemon stop",), "-C": ("prune",), "-S": ("worker scale N",),
    "-u": ("move ID --first",), "-U": ("move ID --before ID",), "-s": ("show ID",), "-f": ("run COMMAND",),
    "-n": ("enqueue COMMAND",), "-d": ("enqueue --after last COMMAND",), "-a": ("logs last",), "-V": ("--version",),
    "-v": ("--version",), "-L": ("enqueue --name NAME COMMAND",), "-N": ("enqueue --slots N COMMAND",),
}  # fmt: skip
"""The same for options without a verb, as in task-spooler."""


JOB_OPTIONS: Final[Mapping[str, str]] = {
    "--depends": "--after", "--depends-on": "--after", "--dependency": "--after",
    "--prio": "--priority", "--nice": "--priority", "--retries": "--max-retries", "--tag": "--label",
    "--dir": "--cwd", "--chdir": "--cwd", "--workdir": "--cwd",
}  # fmt: skip
"""Options of a job in other programs, by what they mean here."""


def meant(noun: str, word: str, verbs: Iterable[str]) -> tuple[str, ...]:
    """Return the suggestions for a word after `noun`; empty if none is near."""
    known = VERBS.get(noun, {})
    for spelled in (word, word.lower().replace("_", "-")):
        if spelled in known:
            return known[spelled]
    likely = {name: _likeness(word, name) for name in (*verbs, *known)}
    for name in sorted(likely, key=likely.__getitem__, reverse=True):
        forms = known.get(name, (name,))
        destroys = any(DESTROYING & set(form.split()) for form in forms)
        if likely[name] >= (_NEARLY_THE_SAME if destroys or name in known else _NEAR):
            return forms
    return ()


def _likeness(word: str, name: str) -> float:
    return SequenceMatcher(None, word[:_LONGEST].lower(), name).ratio()
