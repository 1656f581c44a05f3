"""A fold of several pages, between which other records come to be in folds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest

from everlog import EventStore, Record, event, reducer
from everlog.adapters.memory.ledger import MemoryLedger
from everlog.core.selection import PAGE_RECORDS, Cursor, Page, Selection
from everlog.core.taking import Restamp
from everlog.ports.ledger import Request
from everlog.ports.seams import Seams
from everlog.testing import FakeClock
from everlog.testing.contract.scene import NOON_MS


@event("counted")
@dataclass
class Counted:
    number: int


@reducer("numbers", initial=list[int])
def numbers(state: list[int], record: Record[Any]) -> list[int]:
    return [*state, record.data.number]


class Disturbed(MemoryLedger):
    """A ledger in which something is committed before the second page is read."""

    between: Request | None = None

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        request, self.between = self.between, None
        if request is not None:
            [outcome] = await self.commit([request])
            assert not isinstance(outcome, Exception), outcome
        return await super().read(selection, cursor=cursor, size=size)


COUNT = PAGE_RECORDS + 10


@pytest.mark.parametrize(
    "first",
    [
        COUNT - 5,  # in the second page, where they would have been missed
        0,  # in the first, too, which would have had what the second has not
    ],
    ids=["the last", "all"],
)
def test_a_fold_of_several_pages_has_each_event_once_whatever_is_stamped_anew_meanwhile(
    first: int,
) -> None:
    async def main() -> None:
        clock = FakeClock(NOON_MS)
        seams = Seams(now_ms=clock)
        ledger = Disturbed(seams=seams)
        async with EventStore(ledger, events=[Counted], seams=seams) as store:
            ids: list[str] = []
            for number in range(COUNT):
                clock.set(NOON_MS + 3_600_000 + number)
                ids += [each.id for each in await store.append("a", Counted(number))]
            clock.set(NOON_MS)
            ledger.between = Restamp(tuple(ids[first:]), NOON_MS)
            assert await store.reduce(numbers, "a") == [*range(COUNT)]
            assert ledger.between is None

    asyncio.run(main())
