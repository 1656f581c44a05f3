"""Two histories of one ledger: who resumes with a token never goes over from one to the other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from everlog import EventStore, LogDiverged, Record, event
from everlog.adapters.memory import reading
from everlog.adapters.memory.ledger import MemoryLedger
from everlog.core.selection import PAGE_RECORDS, Cursor, Page, Selection
from everlog.core.token import ResumeToken
from everlog.ports.ledger import Ledger
from everlog.ports.seams import Seams
from everlog.testing import FakeClock


@event("resuming:noted")
@dataclass
class Noted:
    number: int


@event("resuming:counted")
@dataclass
class Counted:
    number: int


EVENTS = [Noted, Counted]


@dataclass
class Histories:
    """What two servers make of one ledger: the same up to where one of them lost its tail."""

    lost: EventStore
    """The one that a reader has followed."""
    kept: EventStore
    """The one that takes its place."""
    common: int


async def diverge(common: Sequence[int], lost: Sequence[int], instead: Sequence[int]) -> Histories:
    """Makes two stores of one ledger: with these numbers in common, then different ones."""
    one, other = _store(), _store()
    for store in (one, other):
        await _append(store, "common", common)
    await _append(one, "lost", lost)
    await _append(other, "instead", instead)
    return Histories(one, other, len(common))


def _store() -> EventStore:
    # The same chance and time: the same identity, ids, stamps and nonces.
    chance = random.Random(0)
    seams = Seams(now_ms=FakeClock(), random_bytes=chance.randbytes)
    return EventStore(MemoryLedger(seams=seams), events=EVENTS, seams=seams)


async def _append(store: EventStore, name: str, numbers: Sequence[int]) -> None:
    for at, number in enumerate(numbers):
        kind = Counted if number % 3 == 0 else Noted
        await store.append(f"s{number % 4}", kind(number), ids=[f"{name} {at}"])


async def resume(histories: Histories, **options: Any) -> None:
    """Resumes in the other history from every record of the one; fails if anything is skipped."""
    followed = await histories.lost.read(**options).to_list()
    there = await histories.kept.read(**options).to_list()
    for at, record in enumerate(followed):
        seen, token = followed[: at + 1], histories.lost.token(record)
        try:
            rest = await histories.kept.read(after=token, **options).to_list()
        except LogDiverged:
            agrees = False
        else:
            agrees = True
            assert seen + rest == there, "something was skipped, or is not there any more"
        assert agrees is (record.position <= histories.common)


numbers = st.lists(st.integers(0, 9), max_size=7)
selections = st.sampled_from(
    [{}, {"stream": "s1"}, {"streams": ["s0", "s2", "s3"]}, {"types": [Counted]}]
)


@given(common=numbers, lost=numbers, instead=numbers, options=selections)
def test_whatever_two_histories_share_is_resumed_whole_and_the_rest_is_refused(
    common: list[int], lost: list[int], instead: list[int], options: dict[str, Any]
) -> None:
    async def test() -> None:
        await resume(await diverge(common, lost, instead), **options)

    asyncio.run(test())


@given(common=numbers, tail=numbers)
def test_a_log_that_only_went_on_is_resumed_from_everywhere(
    common: list[int], tail: list[int]
) -> None:
    async def test() -> None:
        histories = await diverge(common, [], tail)
        assert histories.lost.ledger.identity == histories.kept.ledger.identity
        await resume(histories)
        head = (await histories.lost.info()).token
        rest = await histories.kept.read(after=head).to_list()
        assert len(rest) == len(tail)

    asyncio.run(test())


def test_a_reader_that_only_kept_its_position_is_seen_to_skip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def trust(seen: ResumeToken, **_: object) -> None: ...

    monkeypatch.setattr(reading, "require", trust)
    for instead in ([], [4], [4, 5], [4, 5, 6, 7]):

        async def test(instead: list[int] = instead) -> None:
            await resume(await diverge([1, 2], [3, 3], instead))

        with pytest.raises(AssertionError, match="something was skipped"):
            asyncio.run(test())


class GoneOver:
    """A ledger whose place another takes while it is read: behind so many pages."""

    def __init__(self, one: Ledger, other: Ledger, pages: int) -> None:
        self._one, self._other = one, other
        self._left = pages

    async def read(
        self, selection: Selection, *, cursor: Cursor | None = None, size: int = 500
    ) -> Page:
        self._left -= 1
        ledger = self._one if self._left >= 0 else self._other
        return await ledger.read(selection, cursor=cursor, size=size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._one if self._left > 0 else self._other, name)


@pytest.mark.parametrize("pages", [1, 2])
@pytest.mark.parametrize("backwards", [False, True], ids=["forwards", "backwards"])
def test_a_reading_does_not_go_over_to_another_history_between_two_pages(
    pages: int, backwards: bool
) -> None:
    async def test() -> None:
        histories = await diverge([1], [2], [4, 5, 7])
        for store in (histories.lost, histories.kept):
            for _ in range(3):
                await store.append("more", *[Noted(8)] * PAGE_RECORDS)
        gone_over = GoneOver(histories.lost.ledger, histories.kept.ledger, pages)
        store = EventStore(cast(Ledger, gone_over), events=EVENTS)
        followed: list[Record[Any]] = []

        async def follow() -> None:
            async for record in store.read(backwards=backwards):
                followed.append(record)

        with pytest.raises(LogDiverged) as caught:
            await follow()
        assert caught.value.differs == "chain"
        wanted = await histories.lost.read(backwards=backwards).to_list()
        assert followed == wanted[: pages * PAGE_RECORDS]

    asyncio.run(test())


def test_a_reading_goes_on_where_what_it_began_with_is_still_there() -> None:
    async def test() -> None:
        # It began before the tail was written that is lost.
        histories = await diverge([1, *range(2 * PAGE_RECORDS)], [], [4, 5, 6])
        gone_over = GoneOver(histories.lost.ledger, histories.kept.ledger, 1)
        store = EventStore(cast(Ledger, gone_over), events=EVENTS)
        followed = await store.read().to_list()
        assert followed == await histories.lost.read().to_list()

    asyncio.run(test())
