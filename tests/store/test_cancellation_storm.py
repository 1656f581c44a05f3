"""Two thousand callers called off at random moments, each retried by its ids: everything once."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, to
from everlog.ports.ledger import Outcome, Request
from everlog.store.committer import Committer
from everlog.subscriptions.projector import Appended
from tests.store.stopping import MODES, Stops, stopping_store
from tests.store.watched import Noted, run

CANCELLATIONS = 2_000
LANES = 24
STREAMS = 7

Attempt = Callable[[EventStore, list[str], int, int], Awaitable[Any]]
"""Appends events with these ids; the last is the number of the attempt."""


async def with_the_same_ids(store: EventStore, ids: list[str], number: int, attempt: int) -> None:
    """Appends one call's events, in streams that others append to as well."""
    items = [to(f"s{(number + i) % STREAMS}", Noted(number), id=id) for i, id in enumerate(ids)]
    records = await store.append_many(items, batch=f"attempt-{attempt}")
    assert [record.id for record in records] == ids
    assert [record.data.number for record in records] == [number] * len(ids)


async def with_new_ids(store: EventStore, ids: list[str], number: int, attempt: int) -> None:
    """A client that does not keep its ids."""
    await with_the_same_ids(store, [f"{id}-{attempt}" for id in ids], number, attempt)


class Storm:
    """Callers that are called off again and again until each has been answered once."""

    def __init__(
        self, store: EventStore, stops: Stops, rng: random.Random, wanted: int, attempt: Attempt
    ) -> None:
        self._store = store
        self._rng = rng
        self._wanted = wanted
        self._attempt = attempt
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[asyncio.Task[Any], Callable[[], None]] = {}
        self._calls = 0
        self._chance = random.Random(rng.random())  # the writer's thread has one of its own
        self.called_off = 0
        self.ids: list[str] = []
        """Of all calls that have been answered."""
        self.tries: dict[str, int] = {}
        """How many attempts each call took, by its first id."""
        self.told: list[str] = []
        self.stored_by: dict[str, int] = {}
        """Which attempt stored a call, by its first id."""
        store.on_appended(self._tell)
        stops.on_statement = self._statement

    async def blow(self) -> None:
        """Returns when so many have been called off, and all have been answered."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(LANES):
                    group.create_task(self._lane())
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        await self._store.drained()

    async def _lane(self) -> None:
        while self.called_off < self._wanted:
            self._calls += 1
            number = self._calls
            ids = [f"{number}-{index}" for index in range(self._rng.choice((1, 1, 2, 5)))]
            attempt = 1
            while not await self._answered(ids, number, attempt):
                attempt += 1
            self.ids += ids
            self.tries[ids[0]] = attempt

    async def _answered(self, ids: list[str], number: int, attempt: int) -> bool:
        mode = MODES[self._rng.choice(list(MODES))]
        task, call_off = mode(lambda: self._attempt(self._store, ids, number, attempt))
        await asyncio.sleep(0)  # it begins: a timeout that was not entered cannot expire
        if self.called_off < self._wanted:
            self._waiting[task] = call_off
            if self._rng.random() < 0.3:  # some after so many turns of the loop
                self._after(self._rng.randrange(6), task)
        await asyncio.wait([task])
        self._waiting.pop(task, None)
        if not task.cancelled() and task.exception() is None:
            return True
        error = None if task.cancelled() else task.exception()
        assert isinstance(error, (TimeoutError, ExceptionGroup, type(None))), error
        self.called_off += 1
        return False

    def _after(self, turns: int, task: asyncio.Task[Any]) -> None:
        if turns:
            self._loop.call_soon(self._after, turns - 1, task)
        else:
            self._call_off(task)

    def _statement(self) -> None:
        """In the writer's thread, at the beginning of each of its statements."""
        if self._chance.random() < 0.2:
            self._loop.call_soon_threadsafe(self._call_off_anyone)

    def _call_off_anyone(self) -> None:
        if self._waiting:
            self._call_off(self._rng.choice(list(self._waiting)))

    def _call_off(self, task: asyncio.Task[Any]) -> None:
        call_off = self._waiting.pop(task, None)
        if call_off is not None and not task.done():
            call_off()

    async def _tell(self, appended: Appended) -> None:
        self.told += [record.id for record in appended.records]
        assert appended.batch is not None
        self.stored_by[appended.records[0].id] = int(appended.batch.removeprefix("attempt-"))


async def everything_once(
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    rng: random.Random,
    *,
    wanted: int = CANCELLATIONS,
    attempt: Attempt = with_the_same_ids,
) -> None:
    threads = set(threading.enumerate())
    async with stopping_store("sqlite", path, monkeypatch) as (store, stops):
        storm = Storm(store, stops, rng, wanted, attempt)
        await storm.blow()
        assert storm.called_off >= wanted

        rows = [record.stored async for record in store.read()]
        assert [row.position for row in rows] == list(range(1, len(rows) + 1))
        assert Counter(row.id for row in rows) == Counter(storm.ids)
        assert storm.told == [row.id for row in rows]  # once each, in the order of commits
        verification = await store.verify()
        assert verification.ok, verification.problems

        # All attempts but the last of a call were called off; from the one that stored it on,
        # it was there.
        there = sum(tries - storm.stored_by[id] for id, tries in storm.tries.items())
        absent = sum(storm.stored_by[id] - 1 for id in storm.tries)
        assert there + absent == storm.called_off
        print(f"{storm.called_off} called off: {there} were stored, {absent} were not")
        assert there > 0
        assert absent > 0
        await store.append("s0", Noted(0))
        assert asyncio.all_tasks() == {asyncio.current_task()}
    for thread in set(threading.enumerate()) - threads:
        thread.join(20)
    assert set(threading.enumerate()) - threads == set()


def test_two_thousand_callers_called_off_at_random_and_retried_by_id_are_stored_once_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: random.Random
) -> None:
    run(lambda: everything_once(tmp_path / "log.db", monkeypatch, rng))


# --- tests of the test --------------------------------------------------------------------------


async def committed_by_the_caller(
    self: Committer, request: Request, then: Callable[[Outcome], None] | None = None
) -> Outcome:
    """A committer that leaves the commit where cancellation reaches it."""
    [outcome] = await self._ledger.commit([request])  # pyright: ignore[reportPrivateUsage]
    if isinstance(outcome, Exception):
        raise outcome
    if then is not None:
        then(outcome)
    return outcome


def test_a_storm_over_commits_in_their_callers_tasks_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: random.Random
) -> None:
    monkeypatch.setattr(Committer, "commit", committed_by_the_caller)

    async def main() -> None:
        with pytest.raises(AssertionError):
            await everything_once(tmp_path / "log.db", monkeypatch, rng, wanted=100)

    run(main)


def test_a_storm_over_ids_made_anew_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: random.Random
) -> None:
    async def main() -> None:
        with pytest.raises(AssertionError):
            await everything_once(
                tmp_path / "log.db", monkeypatch, rng, wanted=100, attempt=with_new_ids
            )

    run(main)
