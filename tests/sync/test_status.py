"""What the status of a sync says of how far there is to go."""

from __future__ import annotations

from typing import Any

from everlog import EventStore, Sync, SyncStatus
from everlog.sync.edge import PIECE
from tests.store.watched import Noted, run
from tests.sync.test_bad_input import Line, store


def test_the_status_knows_how_far_the_hub_is_while_its_history_comes() -> None:
    async def main() -> None:
        statuses: list[SyncStatus] = []
        async with store() as hub, store() as edge:
            await hub.append("a", *(Noted(number) for number in range(2 * PIECE + 1)))
            sync: Sync = edge.sync(Watched(hub, statuses, lambda: sync))
            assert (await sync.status()).head is None
            await sync.once()
            await hub.append("a", Noted(0))
            statuses.append(await sync.status())
            await sync.once()
            statuses.append(await sync.status())
        whole = 2 * PIECE + 1
        assert [(status.position, status.head) for status in statuses] == [
            (0, whole),
            (PIECE, whole),
            (2 * PIECE, whole),
            (whole, whole),
            (whole, whole),  # it is asked what is new
            (whole + 1, whole + 1),
        ]

    run(main)


class Watched(Line):
    """Looks at the status before each question."""

    def __init__(self, hub: EventStore, statuses: list[SyncStatus], sync: Any) -> None:
        super().__init__(hub.as_hub())
        self._statuses, self._sync = statuses, sync

    async def pull(self, asked: Any, *, size: int) -> Any:
        self._statuses.append(await self._sync().status())
        return await super().pull(asked, size=size)
