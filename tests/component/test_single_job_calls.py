"""Calls on one job look it up in the transaction that changes it, without a query before."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from queuectl_client.paths import resolve
from queuectl_client.protocol.messages import REQUESTS
from queuectl_client.protocol.vocabulary import ErrorCode
from queuectld.core import Core, Setup
from queuectld.domain.errors import Refused
from queuectld.server.router import find_route
from tests.store import verbs
from tests.store.lab import Lab, new

CALLS = [
    ("job.explain", {"id": "a"}),
    ("job.edit", {"id": "1", "changes": {"priority": 3}}),
    ("job.move", {"id": "a", "first": True}),
    ("job.move", {"id": "1", "before": "2"}),
]


@pytest.mark.parametrize("method, params", CALLS, ids=[f"{method} {params}" for method, params in CALLS])
def test_an_id_or_a_number_takes_no_question_of_its_own(tmp_path: Path, method: str, params: dict[str, Any]) -> None:
    async def play() -> None:
        core = Core(Setup(resolve({"QUEUECTL_HOME": str(tmp_path)}), 1024, lambda: None, lambda _: None))
        now = Lab(tmp_path).now
        try:
            await verbs.add(core.store, new(id="a"), now=now)
            await core.store.intake.add_many([new()] * 2, now=now)
            asked = []
            ask = core.store._reader.submit
            core.store._reader.submit = lambda question: asked.append(question) or ask(question)  # type: ignore[func-returns-value,method-assign]
            route = find_route(method)
            request = REQUESTS[method].from_map
            await route.handle(core.service, None, request(params))  # type: ignore[arg-type]
            assert asked == []
            await route.handle(core.service, None, request({**params, "id": "last"}))  # type: ignore[arg-type]
            assert asked
            for missing in ("nobody", "77"):
                with pytest.raises(Refused, match=f"no such job: '{missing}'") as refused:
                    await route.handle(core.service, None, request({**params, "id": missing}))  # type: ignore[arg-type]
                assert refused.value.code is ErrorCode.NOT_FOUND
        finally:
            await core.store.close()

    asyncio.run(play())
