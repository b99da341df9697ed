"""A worker that this store does not know is welcomed, told that its results are kept, and sent home, in this order."""

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

from queuectld.pool.link import WorkerLink
from queuectld.workerwire.frames import Frames, pack

FRAMES = 3


class Dismissing:
    """Dismisses whoever says hello."""

    def frame(self, link: WorkerLink, kind: str, body: Mapping[str, Any]) -> None:
        assert kind == "hello"
        link.dismiss(body)

    def lost(self, link: WorkerLink) -> None:
        pass


def test_a_dismissed_worker_is_welcomed_before_it_is_drained() -> None:
    async def scenario() -> list[tuple[str, Any]]:
        ours, workers = socket.socketpair()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.connect_accepted_socket(lambda: WorkerLink(Dismissing()), ours)
        reader, writer = await asyncio.open_unix_connection(sock=workers)
        writer.write(pack("hello", {"ended": [{"seq": 7, "run": 2}]}))
        frames, heard = Frames(65536, 100), []
        async with asyncio.timeout(20):
            while len(heard) < FRAMES and (data := await reader.read(65536)):
                heard += [(kind, body) for kind, body in frames.feed(data)]
        transport.close()
        writer.close()
        return heard

    assert asyncio.run(scenario()) == [("welcome", {}), ("stored", {"runs": [[7, 2]]}), ("drain", {})]
