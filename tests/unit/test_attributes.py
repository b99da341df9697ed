"""The table of a job's attributes, and all that follows from it: an attribute is known everywhere, and alike."""

from collections.abc import Callable
from typing import Any

import click
import pytest

from queuectl_client.cli.commands.enqueue import enqueue
from queuectl_client.cli.completion.completers import changes as offered_changes
from queuectl_client.cli.invocation import Invocation
from queuectl_client.cli.jobinput import editfile
from queuectl_client.cli.jobinput.changes import typed
from queuectl_client.cli.jobinput.options import described
from queuectl_client.cli.root import root
from queuectl_client.protocol.attributes import (
    ATTRIBUTES,
    COMPUTED,
    EDITABLE,
    GIVEN,
    HEADINGS,
    KINDS,
    SHOWN,
    Attribute,
    Form,
)
from queuectl_client.protocol.checks import BadParams
from queuectl_client.protocol.jobspec import CHECKS, JobSpec, is_known_key
from queuectld.domain.errors import Refused
from queuectld.domain.job import PROCESS_OPTIONS, Options
from queuectld.domain.retry import RetryPolicy
from queuectld.domain.settings import SETTINGS, setting_value
from queuectld.scheduler.jobs.editing import stored_changes
from queuectld.store.mapping import models
from queuectld.store.mapping.jobrows import COMMON, INITIAL, OPTION_COLUMNS, RARE

TYPED = {
    Form.COMMAND: "make", Form.ID: "x-1", Form.QUEUE: "nightly", Form.TEXT: "ada", Form.WORD: "skip",
    Form.ANY_TEXT: "input", Form.FOLDER: "/tmp", Form.WHOLE: "7", Form.NUMBER: "1", Form.SECONDS: "90",
    Form.TIME: "2030-01-01T09:00:00Z", Form.FLAG: "true", Form.CODES: "75,KILL", Form.JOBS: "job_1",
    Form.LABELS: "a=b", Form.AMOUNTS: "gpu=1", Form.VARIABLES: "MODE=fast",
}  # fmt: skip
"""A good value of each form, as it is typed."""
CHECKED = {
    Form.WHOLE: 1, Form.NUMBER: 1, Form.SECONDS: 90, Form.FLAG: True, Form.CODES: [75],
    Form.JOBS: ["job_1"], Form.LABELS: {"a": "b"},
    Form.AMOUNTS: {"gpu": 1}, Form.VARIABLES: {"MODE": "fast"},
}  # fmt: skip
"""And as the wire has it, where that is no text."""


def setting(name: str) -> Any:
    """The settings as they are when nobody has set one, and a resource."""
    return {"resources": "gpu=4"}.get(name, SETTINGS[name].default)


def options() -> dict[str, click.Option]:
    """The options of enqueue, by the names of their parameters."""
    return {each.name or "": each for each in enqueue.params if isinstance(each, click.Option)}


@pytest.mark.parametrize("attribute", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_an_attribute_is_shown_given_or_computed(attribute: Attribute) -> None:
    assert attribute.shown or attribute.given or attribute.name in COMPUTED
    assert attribute.given or not (attribute.editable or attribute.heading or attribute.setting)
    assert is_known_key(attribute.name), "so that a job printed can be enqueued again"
    assert (attribute.name in SHOWN) is attribute.shown
    assert (attribute.name in KINDS) is (attribute.kind is not None)


@pytest.mark.parametrize("attribute", GIVEN.values(), ids=GIVEN)
def test_what_is_given_has_a_field_a_check_and_an_option(attribute: Attribute) -> None:
    name = attribute.name
    assert name in JobSpec._fields
    assert name in CHECKS
    if name == "command":
        return
    assert attribute.heading in HEADINGS
    option = options()[name]
    assert attribute.option in option.opts
    assert option.help == attribute.help
    text = TYPED[attribute.form]
    context = click.Context(root, **root.context_settings)  # a command keeps the names of help of its first context
    words = [attribute.option] if option.is_flag else [attribute.option, text]
    parsed = enqueue.make_context("enqueue", [*words, "true"], parent=context).params
    job = described({name: parsed[name]})
    JobSpec.from_map({"command": "true", **job})
    assert job.keys() == {name}


@pytest.mark.parametrize("attribute", EDITABLE.values(), ids=EDITABLE)
def test_what_can_be_edited_can_be_typed_emptied_and_written(attribute: Attribute) -> None:
    name = attribute.name
    value = CHECKS[name](name, typed([(name, TYPED[attribute.form])])[name])
    assert stored_changes({name: value}, setting)
    if attribute.required:
        with pytest.raises(Refused, match="cannot be empty"):
            stored_changes({name: None}, setting)
    else:
        emptied = stored_changes({name: None}, setting)
        default = setting(name) if attribute.setting else attribute.default
        stored = {**emptied, **emptied.get("retry", {})}[attribute.field]
        assert stored == (default * 1000 if attribute.field.endswith("_ms") and default else default)
    if name in editfile.KEYS:
        assert attribute.help or attribute.comment
        CHECKS[name](name, editfile.from_file(name, attribute.example))


@pytest.mark.parametrize("name", sorted(GIVEN.keys() - EDITABLE.keys()))
def test_what_cannot_be_edited_is_refused(name: str) -> None:
    with pytest.raises(Refused, match="cannot be edited"):
        stored_changes({name: "x"}, setting)


def test_the_completion_of_edit_offers_exactly_what_the_daemon_takes() -> None:
    offers = offered_changes(Invocation(), click.Context(enqueue), "")
    offered = {offer.value.removesuffix("=") for offer in offers}
    good = {name: CHECKS[name](name, CHECKED.get(each.form, TYPED[each.form])) for name, each in GIVEN.items()}
    assert offered == {name for name in good if _takes(lambda name=name: stored_changes({name: good[name]}, setting))}


SETTINGS_OF_JOBS = [attribute for attribute in GIVEN.values() if attribute.setting]
EDGES = (-1, 0, 0.0004, 0.5, 1, 2.5, 1000, 1000.5, 1001, 315_360_000, 315_360_001, 1e300, "90s", "2h", "x")


@pytest.mark.parametrize("attribute", SETTINGS_OF_JOBS, ids=lambda attribute: attribute.name)
def test_config_takes_what_the_key_of_a_job_takes(attribute: Attribute) -> None:
    name = attribute.name
    for value in EDGES if attribute.form is not Form.FLAG else (True, False, "x"):
        assert _takes(lambda value=value: CHECKS[name](name, value)) == _takes(
            lambda value=value: setting_value(name, value)
        ), value  # fmt: skip


def test_every_attribute_whose_default_is_a_setting_has_that_setting() -> None:
    assert {attribute.name for attribute in SETTINGS_OF_JOBS} <= SETTINGS.keys()


def test_an_option_that_is_given_is_a_field_of_the_record_and_a_column_of_its_name() -> None:
    first = JobSpec._fields.index("name")
    fields = {GIVEN[key].field for key in JobSpec._fields[first:]}
    assert fields == {*Options._fields, *RetryPolicy._fields} - {"retry", "umask"}
    assert {*OPTION_COLUMNS} == fields | {"umask"}
    assert {*PROCESS_OPTIONS} <= {*Options._fields}


def test_a_new_job_has_a_value_in_each_column() -> None:
    columns = [field.name for field in models.Job._meta.sorted_fields]
    assert sorted(columns) == sorted([*COMMON, *RARE, *INITIAL])
    assert RARE.keys() & INITIAL.keys() == set()


def _takes(attempt: Callable[[], Any]) -> bool:
    try:
        attempt()
    except (Refused, BadParams):
        return False
    return True
