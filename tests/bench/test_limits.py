"""What limits hold back costs nothing beside it. Counted, never timed: this runs on any machine."""

import asyncio
from pathlib import Path

import pytest

from tests.bench.effort import Effort, Meter
from tests.bench.limits import KINDS, NOW, Beside, Kind

FEW, MANY = 100, 5_000
TIMES = 20
STEPS_APART = 1.05


async def _counted(path: Path, kind: Kind, count: int) -> dict[str, Effort]:
    beside = await Beside.filled(path, kind, count)
    try:
        await beside.refill()
        meter = Meter(beside.store)

        async def repeat_turn() -> None:
            for _ in range(TIMES):
                await beside.turn()

        async def repeat_add() -> None:
            for _ in range(TIMES):
                await beside.add()

        async def explain() -> None:
            await beside.store.explain(2, now=NOW)

        works = {"a turn": repeat_turn, "one enqueue": repeat_add, "explain the first": explain}
        return {name: await meter.of(TIMES, work) for name, work in works.items()}
    finally:
        await beside.store.close()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_long_line_that_is_held_back_costs_others_nothing(kind: Kind, tmp_path: Path) -> None:
    few = asyncio.run(_counted(tmp_path / "few" / "queuectl.db", kind, FEW))
    many = asyncio.run(_counted(tmp_path / "many" / "queuectl.db", kind, MANY))
    assert {name: effort.statements for name, effort in few.items()} == {
        name: effort.statements for name, effort in many.items()
    }
    longer = {name: (few[name].steps, many[name].steps) for name in few if _is_longer(few[name], many[name])}
    assert longer == {}


def _is_longer(few: Effort, many: Effort) -> bool:
    return many.steps > few.steps * STEPS_APART
