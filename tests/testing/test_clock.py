"""A FakeClock stands still until it is moved, and a store takes its time from it."""

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from everlog import EventStore, InvalidInput
from everlog.errors import NaiveDatetime
from everlog.testing import FakeClock
from tests.testing.events import Renamed

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def test_a_clock_moves_only_when_it_is_told() -> None:
    clock = FakeClock(NOON)
    assert clock() == clock() == int(NOON.timestamp() * 1000)
    clock.advance(seconds=1.5, ms=3)
    assert clock.now == NOON + timedelta(milliseconds=1503)


def test_a_clock_can_go_back() -> None:
    clock = FakeClock(NOON)
    clock.advance(seconds=-60)
    assert clock.now == NOON - timedelta(minutes=1)
    clock.set(datetime(2020, 1, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    assert clock.now == datetime(2020, 1, 1, tzinfo=UTC)
    clock.set(5)
    assert clock() == 5


def test_a_clock_refuses_what_is_no_moment() -> None:
    with pytest.raises(NaiveDatetime, match="start"):
        FakeClock(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake
    clock = FakeClock(5)
    with pytest.raises(NaiveDatetime):
        clock.set(datetime(2026, 1, 1))  # noqa: DTZ001 - that is the mistake
    with pytest.raises(InvalidInput, match="1970"):
        clock.advance(ms=-6)
    assert clock() == 5


def test_a_store_takes_its_time_from_the_clock_and_never_goes_back_with_it() -> None:
    async def run() -> None:
        clock = FakeClock(NOON)
        async with EventStore.open("memory:", events=[Renamed], clock=clock) as store:
            [first] = await store.append("a", Renamed("x"))
            clock.advance(seconds=-3600)
            [second] = await store.append("a", Renamed("y"))
            assert first.created_at == second.created_at == NOON
            assert first.created < second.created

    asyncio.run(run())
