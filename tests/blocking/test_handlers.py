"""Hooks and handlers of a blocking store: where they run, and what they may call."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from everlog import Projector as AsyncProjector
from everlog.blocking import Appended, EventStore, HookFailure, Projector, Record, caused_by
from everlog.blocking.handler_threads import HandlerThreads
from everlog.errors import HandlerFailed, MisusedStore
from tests.blocking.notes import EVENTS, PATIENCE_S, Noted, in_threads


def test_an_append_inside_a_handler_waits_for_no_hooks_and_keeps_its_cause() -> None:
    with EventStore.open("memory:", events=EVENTS) as store:
        projector, entered, release = Projector(), threading.Event(), threading.Event()

        @projector.once(Noted)
        def follow(record: Record[Noted]) -> None:
            if record.data.number == 0:
                store.append("b", Noted(1))  # its own hook, below, is held: this does not wait
                entered.set()
            else:
                assert release.wait(PATIENCE_S)

        store.on_appended(projector.handle)
        with caused_by("request-1"):
            [first] = store.append("a", Noted(0))
        assert entered.is_set()
        release.set()
        store.drained()
        second = store.read("b").first()
        assert second is not None
        assert (second.correlation, second.causation) == ("request-1", first.id)


def test_a_chain_of_handlers_carries_the_correlation_through_all_threads() -> None:
    with EventStore.open("memory:", events=EVENTS) as store:
        projector = Projector()

        @projector.all(Noted)
        def follow(record: Record[Noted]) -> None:
            if record.data.number < 5:
                store.append(f"s{record.data.number}", Noted(record.data.number + 1))

        store.on_appended(projector.handle)
        [first] = store.append("begin", Noted(0))
        store.drained()
        records = store.read().to_list()
        assert [record.data.number for record in records] == [0, 1, 2, 3, 4, 5]
        assert {record.correlation for record in records} == {first.id}
        causes = [record.causation for record in records]
        assert causes == [None, *(record.id for record in records[:-1])]


def test_an_async_handler_that_calls_a_blocking_store_is_told_what_to_do() -> None:
    with EventStore.open("memory:", events=EVENTS) as store:
        told: list[HookFailure] = []
        projector = Projector()

        @projector.on(Noted)
        async def wrong(record: Record[Noted]) -> None:
            store.append("b", Noted(1))

        store.on_appended(projector.handle)
        store.on_error(told.append)
        store.append("a", Noted(0))
        cause = told[0].error.__cause__
        assert isinstance(cause, MisusedStore)
        assert "a plain `def`" in str(cause)
        assert len(store.read().to_list()) == 1


def test_a_reducer_that_calls_a_blocking_store_is_told_instead_of_hanging() -> None:
    from everlog.blocking import reducer

    with EventStore.open("memory:", events=EVENTS) as store:

        @reducer("wrong", initial=int)
        def wrong(state: int, record: Record[Any]) -> int:
            return len(store.read().to_list())

        store.append("a", Noted(0))
        with pytest.raises(MisusedStore):
            store.reduce(wrong, "a")


def test_async_handlers_and_projectors_of_the_async_api_work_with_a_blocking_store() -> None:
    with EventStore.open("memory:", events=EVENTS) as store:
        seen: list[str] = []
        ours, theirs = Projector(), AsyncProjector()

        @ours.on(Noted)
        async def one(record: Record[Noted]) -> None:
            seen.append("ours")

        @theirs.on(Noted)
        async def two(record: Record[Noted]) -> None:
            seen.append("theirs")

        async def hook(appended: Appended) -> None:
            seen.append("hook")

        for each in (ours.handle, theirs.handle, hook):
            store.on_appended(each)
        store.append("a", Noted(1))
        assert sorted(seen) == ["hook", "ours", "theirs"]


def test_push_push_many_and_handle_return_when_their_handlers_have() -> None:
    projector, seen = Projector(), list[object]()

    @projector.all(Noted)
    def one(record: Record[Noted]) -> None:
        seen.append(record.data.number)

    @projector.batch("bulk")
    def bulk(records: Sequence[Record[Any]]) -> None:
        seen.append(len(records))

    with EventStore.open("memory:", events=EVENTS) as store:
        records = store.append("a", Noted(7), Noted(8), Noted(9))
    projector.push(records[0])
    projector.push_many("bulk", records)
    projector.handle(Appended(tuple(records[1:])))
    projector.handle(Appended(tuple(records), "bulk"))
    assert projector.replay(records[:2]) == 2
    assert seen == [7, 3, 8, 9, 3, 7, 8]


def test_a_failing_handler_raises_in_the_thread_that_pushed() -> None:
    projector = Projector()

    @projector.on(Noted)
    def fail(record: Record[Noted]) -> None:
        raise ValueError(record.data.number)

    with EventStore.open("memory:", events=EVENTS) as store:
        records = store.append("a", *[Noted(number) for number in range(8)])

    def push(number: int) -> None:
        with pytest.raises(HandlerFailed) as caught:
            projector.push(records[number])
        assert isinstance(caught.value.__cause__, ValueError)
        assert caught.value.__cause__.args == (number,)

    in_threads(8, push)


def test_pushing_to_a_projector_inside_its_handler_is_refused() -> None:
    projector = Projector()

    @projector.on(Noted)
    def push_again(record: Record[Noted]) -> None:
        projector.push(record)

    with EventStore.open("memory:", events=EVENTS) as store:
        [record] = store.append("a", Noted(1))
    with pytest.raises(HandlerFailed) as caught:
        projector.push(record)
    assert isinstance(caught.value.__cause__, MisusedStore)


def test_more_handlers_than_threads_may_wait_for_handlers_of_another_projector() -> None:
    """With a fixed number of threads they would hold them all, and wait for ever."""
    count = 64
    outer, inner, seen = Projector(), Projector(), list[int]()
    meeting = threading.Barrier(4)

    @outer.on(Noted)
    def wait_for_the_inner(record: Record[Noted]) -> None:
        inner.push(record)

    @inner.on(Noted)
    def note(record: Record[Noted]) -> None:
        meeting.wait(PATIENCE_S)  # and these run side by side
        seen.append(record.data.number)

    with EventStore.open("memory:", events=EVENTS) as store:
        store.on_appended(outer.handle)
        items = [(f"s{number}", Noted(number)) for number in range(count)]

        def append(number: int) -> None:
            store.append(*items[number])

        in_threads(count, append)
        assert sorted(seen) == list(range(count))


def test_no_more_handlers_run_at_once_than_threads_allow() -> None:
    before = set(threading.enumerate())
    threads, running, release = HandlerThreads(limit=3), threading.Semaphore(0), threading.Event()

    def work() -> None:
        running.release()
        assert release.wait(PATIENCE_S)

    futures = [threads.submit(work) for _ in range(50)]
    for _ in range(3):
        assert running.acquire(timeout=PATIENCE_S)
    mine = [one for one in threading.enumerate() if one not in before]
    assert [one.name for one in mine] == ["everlog-handler"] * 3
    assert not running.acquire(blocking=False)
    release.set()
    for future in futures:
        future.result(PATIENCE_S)


def test_a_handler_that_ends_the_program_ends_whoever_waits_for_it_and_nobody_else() -> None:
    projector = Projector()

    @projector.on(Noted)
    async def leave(record: Record[Noted]) -> None:
        raise SystemExit(3)

    with EventStore.open("memory:", events=EVENTS) as store:
        [record] = store.append("a", Noted(1))
        with pytest.raises(SystemExit) as caught:
            projector.push(record)
        assert caught.value.code == 3
        assert store.append("a", Noted(2))[0].position == 2


def test_closing_inside_a_handler_closes_and_waits_for_nothing_of_itself() -> None:
    store = EventStore.open("memory:", events=EVENTS)
    closed = threading.Event()

    def close(appended: Appended) -> None:
        store.close()
        closed.set()

    store.on_appended(close)
    store.append("a", Noted(1))
    assert closed.wait(PATIENCE_S)
    assert repr(store).endswith(", closed>")
