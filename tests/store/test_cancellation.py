"""A caller who is called off, wherever its write has got to: wholly there, or wholly not.

The writer's thread is stopped at one of five points, the caller is called off, and the writer goes
on: to the end, or into a failure. What became of the write is known beforehand for each case; a
retry with the same ids finds the same, and makes it so where it was not.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from everlog import EventStore, OutcomeUnknown, Record, StoreClosed, WrongVersion, to
from everlog.core.record import StoredRecord
from everlog.errors import LedgerBusy
from everlog.ports.ledger import Outcome, Request
from everlog.store.committer import Committer
from everlog.store.preparing import To
from everlog.subscriptions.projector import Appended
from tests.store.stopping import (
    AFTER_INSERT,
    ANSWER_PENDING,
    BEFORE_BEGIN,
    COMMIT_SENT,
    MODES,
    QUEUED,
    Stops,
    called_off,
    stopping,
    stopping_store,
)
from tests.store.watched import Noted, Notes, run, turns

# --- the cases ----------------------------------------------------------------------------------

GOES_ON = "the writer goes on"
LOCKED = "another holds the lock for too long"
INTERRUPTED = "a statement fails"
NO_ROOM = "the disk fails in COMMIT"
REFUSED = "its version is taken"
ITS_OWN_TURN = "its batch failed and it waits for its own turn"


@dataclass(frozen=True)
class Case:
    """Where the caller is called off, what becomes of the writer, and so of the write."""

    point: str
    ending: str
    company: bool
    """Whether others are in the same batch."""
    stored: bool


CASES = [
    # Queued, it is taken back.
    Case(QUEUED, GOES_ON, company=False, stored=False),
    Case(QUEUED, GOES_ON, company=True, stored=False),
    # But a batch that was handed over once and failed is tried again one by one, whoever waits.
    Case(QUEUED, ITS_OWN_TURN, company=True, stored=True),
    # Handed over, it goes on without its caller ...
    *(
        Case(point, GOES_ON, company=company, stored=True)
        for point in (BEFORE_BEGIN, AFTER_INSERT, COMMIT_SENT, ANSWER_PENDING)
        for company in (False, True)
    ),
    # ... and may fail without it, or be refused.
    Case(BEFORE_BEGIN, LOCKED, company=False, stored=False),
    Case(BEFORE_BEGIN, LOCKED, company=True, stored=False),
    Case(BEFORE_BEGIN, REFUSED, company=False, stored=False),
    Case(AFTER_INSERT, INTERRUPTED, company=False, stored=False),
    Case(AFTER_INSERT, INTERRUPTED, company=True, stored=True),  # tried again by itself
    Case(AFTER_INSERT, REFUSED, company=True, stored=False),
    Case(COMMIT_SENT, NO_ROOM, company=False, stored=False),
    Case(COMMIT_SENT, NO_ROOM, company=True, stored=False),
    Case(ANSWER_PENDING, REFUSED, company=False, stored=False),
    Case(ANSWER_PENDING, REFUSED, company=True, stored=False),
]

IN_MEMORY = {QUEUED, BEFORE_BEGIN, ANSWER_PENDING}
"""Memory has no statements, and nothing fails there but a condition."""


def cases_of(kind: str, point: str, act: str) -> list[Case]:
    return [
        case
        for case in CASES
        if case.point == point
        and (kind == "sqlite" or case.ending in (GOES_ON, REFUSED))
        and (act == "append" or case.ending != REFUSED)  # a condition is an append's
    ]


# --- what is called off -------------------------------------------------------------------------


@dataclass
class Act:
    """A write of several records with fixed ids, that can be repeated."""

    ids: list[str]
    call: Callable[[], Awaitable[Any]]
    again: Callable[[], Awaitable[Any]]
    """The same write, without a condition that may refuse it."""
    relation: str | None = None
    """A relation that begins with it."""


def an_append(store: EventStore, name: str, *, refused: bool) -> Act:
    ids = [f"{name}-{letter}" for letter in "abc"]
    relation = f"{name}-relation"

    def items(condition: Any) -> list[To]:
        return [
            to(f"{name}-1", Noted(1), id=ids[0], relations=[relation], **condition),
            to(f"{name}-2", Noted(2), id=ids[1]),
            to(f"{name}-1", Noted(3), id=ids[2]),
        ]

    return Act(
        ids,
        lambda: store.append_many(items({"expect": 7} if refused else {})),
        lambda: store.append_many(items({})),
        relation,
    )


def an_import(store: EventStore, name: str, *, refused: bool) -> Act:
    ids = [f"{name}-{letter}" for letter in "abc"]
    records = [
        store.past(f"{name}-1", Noted(n), created=f"{n:012x}0000" + "a" * 16, id=id)
        for n, id in enumerate(ids, 1)
    ]

    def call() -> Awaitable[object]:
        return store.import_records(records)

    return Act(ids, call, call)


def a_save(store: EventStore, name: str, *, refused: bool) -> Act:
    notes = store.new(Notes, id=name)
    for number in (1, 2, 3):
        notes.push(Noted(number))

    async def save() -> None:
        await notes.save()
        assert (notes.log.version, notes.log.is_dirty) == (3, False)

    return Act([record.id for record in notes.log.pending], save, save)


ACTS = {"append": an_append, "import": an_import, "save": a_save}


# --- one case -----------------------------------------------------------------------------------

Retry: TypeAlias = "Callable[[Scene, Act], Awaitable[Any]]"


@dataclass
class Scene:
    """A store whose writer can be stopped, and what its hook was told."""

    store: EventStore
    stops: Stops
    told: list[str] = field(default_factory=list[str])
    tried: int = 0
    retry: Retry = lambda scene, act: act.call()

    def __post_init__(self) -> None:
        async def tell(appended: Appended) -> None:
            self.told.extend(record.id for record in appended.records)

        self.store.on_appended(tell)

    async def rows(self, ids: Sequence[str]) -> list[StoredRecord]:
        found = [await self.store.find(id) for id in ids]
        return [record.stored for record in found if record is not None]

    async def everything_told_once_and_in_order(self) -> None:
        await self.store.drained()
        rows = [record.stored async for record in self.store.read()]
        assert [row.position for row in rows] == list(range(1, len(rows) + 1))
        assert self.told == [row.id for row in rows], "the hook was not told of all, once"


async def called_off_in(scene: Scene, case: Case, act: str, mode: str) -> bool:
    """Plays a case; returns whether the write was there when its caller had been called off."""
    store, stops = scene.store, scene.stops
    scene.tried += 1
    name = f"{scene.tried}"
    # One write stops the writer at its end, so that what is queued behind it becomes one batch.
    plug = stops.at(ANSWER_PENDING)
    plugging = asyncio.create_task(store.append(f"{name}-plug", Noted(0)))
    await plug.reached()
    before = _neighbours(store, f"{name}-before") if case.company else []
    victim = ACTS[act](store, name, refused=case.ending == REFUSED)
    task, call_off = MODES[mode](victim.call)
    await turns(3)
    after = _neighbours(store, f"{name}-after") if case.company else []
    await turns(3)

    if case.point == QUEUED and case.ending == GOES_ON:
        call_off()
        await called_off(task, mode)
        plug.release()
    elif case.ending == ITS_OWN_TURN:
        failing, first = stops.at(AFTER_INSERT), stops.at(BEFORE_BEGIN)
        plug.release()
        await failing.reached()
        stops.interrupt()
        failing.release()
        await first.reached()  # the first of the batch, by itself
        call_off()
        await called_off(task, mode)
        first.release()
    else:
        held = stops.at(case.point)
        plug.release()
        await held.reached()
        call_off()
        await called_off(task, mode)  # at once, with the writer still stopped
        with _meanwhile(stops, case.ending):
            if case.ending == INTERRUPTED:
                stops.interrupt()
            held.release()
            await store.drained()
    await plugging
    await store.drained()

    found = await scene.rows(victim.ids)
    assert len(found) in (0, len(victim.ids)), "it is there in part"
    assert bool(found) is case.stored, "it is not what was to become of it"
    if victim.relation is not None:
        related = [f"{name}-1"] if case.stored else []
        assert await store.relations.streams_of(victim.relation) == related
    for neighbour in [*before, *after]:
        await neighbour.has_its_own_answer(case.ending)
    await scene.everything_told_once_and_in_order()

    # A retry with the same ids settles it, whatever it was, and once more changes nothing.
    position = (await store.info()).position
    if case.ending == REFUSED:
        with pytest.raises(WrongVersion):
            await scene.retry(scene, victim)
        assert await scene.rows(victim.ids) == []
        await victim.again()
    else:
        await scene.retry(scene, victim)
    settled = await scene.rows(victim.ids)
    assert len(settled) == len(victim.ids)
    assert settled == found or not found
    await victim.again()
    assert await scene.rows(victim.ids) == settled
    stored_now = (await store.info()).position - position
    assert stored_now == len(settled) - len(found), "something was stored twice"
    if victim.relation is not None:
        assert await store.relations.streams_of(victim.relation) == [f"{name}-1"]
    await store.append(settled[-1].stream, Noted(9), expect=settled[-1].version)
    await scene.everything_told_once_and_in_order()
    return bool(found)


@dataclass
class Neighbour:
    """Another caller of the same batch, who is not called off."""

    store: EventStore
    id: str
    expect: int
    task: asyncio.Task[list[Record[Any]]]

    async def has_its_own_answer(self, ending: str) -> None:
        """Asserts what it is told, and that its own retry settles it."""
        answer: object
        [answer] = await asyncio.gather(self.task, return_exceptions=True)
        if ending == LOCKED:
            assert type(answer) is LedgerBusy
        elif ending == NO_ROOM:
            assert isinstance(answer, OutcomeUnknown)
            assert answer.ids == (self.id,)
        elif self.expect:
            assert isinstance(answer, WrongVersion)
            assert (answer.stream, answer.expected, answer.actual) == (self.id, 1, 0)
        else:
            [record] = self.task.result()
            assert (record.stream, record.version, record.data) == (self.id, 1, Noted(5))
        if self.expect:
            assert await self.store.find(self.id) is None
            return
        [again] = await self.store.append(self.id, Noted(5), ids=[self.id])
        assert again.version == 1
        if not isinstance(answer, BaseException):
            assert again.stored == self.task.result()[0].stored


def _neighbours(store: EventStore, name: str) -> list[Neighbour]:
    """Queues one append that will do, and one that is refused."""
    return [
        Neighbour(
            store,
            id,
            expect,
            asyncio.create_task(store.append(id, Noted(5), ids=[id], expect=expect)),
        )
        for id, expect in ((f"{name}-good", 0), (f"{name}-bad", 1))
    ]


def _meanwhile(stops: Stops, ending: str) -> AbstractContextManager[None]:
    if ending == LOCKED:
        return stops.locked()
    return stops.no_room() if ending == NO_ROOM else nullcontext()


async def all_cases(
    kind: str,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cases: Sequence[Case],
    *,
    act: str = "append",
    modes: Sequence[str] = tuple(MODES),
    retry: Retry = lambda scene, act: act.call(),
) -> Counter[bool]:
    """Plays all cases in one ledger; returns how often what was called off was there or not."""
    counted: Counter[bool] = Counter()
    threads = set(threading.enumerate())
    options = {} if kind == "memory" else {"timeout_s": 0.02}
    async with stopping_store(kind, path, monkeypatch, **options) as (store, stops):
        scene = Scene(store, stops, retry=retry)
        for case in cases:
            for mode in modes:
                print(f"{case}, {mode}")  # captured, and shown if the test fails
                counted[await called_off_in(scene, case, act, mode)] += 1
        verification = await store.verify()
        assert verification.ok, verification.problems
        assert asyncio.all_tasks() == {asyncio.current_task()}
    for thread in set(threading.enumerate()) - threads:
        thread.join(20)  # one that has been told to end may not have got there yet
    assert set(threading.enumerate()) - threads == set()
    return counted


# --- the tests ----------------------------------------------------------------------------------

POINTS = (QUEUED, BEFORE_BEGIN, AFTER_INSERT, COMMIT_SENT, ANSWER_PENDING)


@pytest.mark.parametrize("point", POINTS)
def test_an_append_called_off_anywhere_is_wholly_there_or_not_and_a_retry_by_id_settles_it(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        cases = cases_of("sqlite", point, "append")
        counted = await all_cases("sqlite", tmp_path / "log.db", monkeypatch, cases)
        print(f"{point}: {counted[True]} were stored, {counted[False]} were not")
        assert counted[True] > 0
        assert counted[False] > 0

    run(main)


@pytest.mark.parametrize("point", sorted(IN_MEMORY))
def test_an_append_called_off_in_memory_is_wholly_there_or_not_and_a_retry_by_id_settles_it(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        cases = cases_of("memory", point, "append")
        counted = await all_cases("memory", tmp_path / "no.db", monkeypatch, cases)
        print(f"{point}: {counted[True]} were stored, {counted[False]} were not")
        assert counted[False] > 0
        assert point == QUEUED or counted[True] > 0  # taken back, always: no batch fails there

    run(main)


@pytest.mark.parametrize("act", ["import", "save"])
@pytest.mark.parametrize("point", POINTS)
def test_an_import_or_save_called_off_anywhere_is_settled_by_repeating_it(
    point: str, act: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        cases = cases_of("sqlite", point, act)
        await all_cases(
            "sqlite", tmp_path / "log.db", monkeypatch, cases, act=act, modes=["cancelled"]
        )

    run(main)


def test_a_streamed_import_called_off_in_a_chunk_goes_on_from_there_when_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("everlog.store.writing.IMPORT_CHUNK", 30)

    async def main() -> None:
        async with stopping_store("sqlite", tmp_path / "log.db", monkeypatch) as (store, stops):
            records = [
                store.past("a", Noted(n), created=f"{n:012x}0000" + "a" * 16, id=f"{n}")
                for n in range(1, 101)
            ]
            open_streams = 0

            async def stream() -> AsyncGenerator[Record[Any], None]:
                nonlocal open_streams
                open_streams += 1
                try:
                    for record in records:
                        yield record
                finally:
                    open_streams -= 1

            there = 0
            for point, then in ((BEFORE_BEGIN, 30), (COMMIT_SENT, 60), (ANSWER_PENDING, 90)):
                held = stops.at(point)
                task = asyncio.create_task(store.import_records(stream()))
                for _ in range(there // 30):  # chunks that are known are committed as well
                    await held.reached()
                    held.release()
                    held = stops.at(point)
                await held.reached()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert open_streams == 0
                held.release()
                await store.drained()
                there = (await store.info()).position
                assert there == then
            imported = await store.import_records(stream())
            assert (imported.stored, imported.known) == (10, 90)
            assert [record.id async for record in store.read()] == [r.id for r in records]
            verification = await store.verify()
            assert verification.ok, verification.problems

    run(main)


@pytest.mark.parametrize("twice", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("point", [BEFORE_BEGIN, COMMIT_SENT, ANSWER_PENDING])
def test_a_close_that_is_called_off_still_closes_behind_what_is_being_written(
    point: str, twice: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        threads = set(threading.enumerate())
        async with stopping("sqlite", tmp_path / "log.db", monkeypatch) as (ledger, stops):
            store = EventStore(ledger, events=[Noted])
            held = stops.at(point)
            writing = asyncio.create_task(store.append("a", Noted(1), ids=["in flight"]))
            await held.reached()
            queued = asyncio.create_task(store.append("a", Noted(2), ids=["queued"]))
            await turns()
            closing = asyncio.create_task(store.close())
            await turns()
            closing.cancel()
            await turns()
            if twice:
                closing.cancel()
            await turns()
            with pytest.raises(StoreClosed):
                await store.append("a", Noted(3))
            held.release()
            with pytest.raises(asyncio.CancelledError):
                await closing
            [record] = await writing
            assert record.id == "in flight"
            with pytest.raises(StoreClosed):
                await queued
            await store.close()
        for thread in set(threading.enumerate()) - threads:
            thread.join(20)
        assert set(threading.enumerate()) - threads == set()
        async with EventStore.open(tmp_path / "log.db", events=[Noted]) as store:
            assert [record.id async for record in store.read()] == ["in flight"]
            await store.append("a", Noted(2), ids=["queued"])
            assert (await store.verify()).ok

    run(main)


# --- tests of the tests -------------------------------------------------------------------------


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


SEEN = "not what was to become of it|not told of all|there in part"


@pytest.mark.parametrize("point", [BEFORE_BEGIN, AFTER_INSERT, COMMIT_SENT, ANSWER_PENDING])
def test_a_commit_that_runs_in_its_callers_task_is_seen(
    point: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Committer, "commit", committed_by_the_caller)

    async def main() -> None:
        cases = [Case(point, GOES_ON, company=False, stored=True)]
        # It is stored, or is about to be, and nobody is told: neither the caller nor the hooks.
        with pytest.raises(AssertionError, match=SEEN):
            await all_cases("sqlite", tmp_path / "log.db", monkeypatch, cases)

    run(main)


@pytest.mark.parametrize(
    ("stored", "seen"), [(False, "len\\(\\[\\]\\)"), (True, "something was stored twice")]
)
def test_a_retry_with_ids_made_anew_is_seen(
    stored: bool, seen: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def with_new_ids(scene: Scene, act: Act) -> None:
        await an_append(scene.store, f"{act.ids[0]}-anew", refused=False).call()

    async def main() -> None:
        cases = [Case(COMMIT_SENT if stored else QUEUED, GOES_ON, company=False, stored=stored)]
        with pytest.raises(AssertionError, match=seen):
            await all_cases("sqlite", tmp_path / "log.db", monkeypatch, cases, retry=with_new_ids)

    run(main)
