"""Projectors: who is told of which record, in which order, and what a failure costs."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from everlog import (
    Appended,
    EventStore,
    HookFailure,
    Projector,
    Record,
    Reducer,
    event,
    reducer,
    to,
)
from everlog.core.chain import HYDRATED, OUTDATED
from everlog.core.event import Registry
from everlog.errors import (
    EventDefinitionError,
    HandlerFailed,
    InvalidName,
    MisusedStore,
    UnknownEvent,
)
from everlog.ports.seams import wall_clock_ms
from everlog.subscriptions import projector as projector_module
from tests.store.watched import Gate, Noted, run, turns


@event("other")
@dataclass
class Other:
    number: int = 0


REGISTRY = Registry([Noted, Other])


def in_memory(test: Callable[[EventStore], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted, Other]) as store:
            await test(store)

    run(main)


async def some_records(*events: Noted | Other, stream: str = "a") -> list[Record[Any]]:
    async with EventStore.open("memory:", events=[Noted, Other]) as store:
        return await store.append(stream, *events)


def flagged(record: Record[Any], *, hydrated: bool, outdated: bool) -> Record[Any]:
    flags = (HYDRATED if hydrated else 0) | (OUTDATED if outdated else 0)
    return Record(record.stored._replace(flags=flags), REGISTRY)


def told_to(projector: Projector) -> list[str]:
    """Declares one handler of each kind, and returns the list of those that are called."""
    told: list[str] = []

    @projector.once(Noted)
    async def once(record: Record[Noted]) -> None:
        told.append("once")

    @projector.on(Noted)
    async def on(record: Record[Noted]) -> None:
        told.append("on")

    @projector.all(Noted)
    async def everything(record: Record[Noted]) -> None:
        told.append("all")

    return told


# --- who is told --------------------------------------------------------------------------------

TRUTH = [
    # hydrated, outdated, who is told
    (False, False, ["once", "on", "all"]),
    (True, False, ["on", "all"]),
    (False, True, ["all"]),
    (True, True, ["all"]),
]


async def the_truth() -> None:
    [record] = await some_records(Noted(1))
    for hydrated, outdated, expected in TRUTH:
        by_flags, by_hand, by_hook, replayed = (Projector() for _ in range(4))
        told = [told_to(each) for each in (by_flags, by_hand, by_hook, replayed)]
        there = flagged(record, hydrated=hydrated, outdated=outdated)
        await by_flags.push(there)
        opposite = flagged(record, hydrated=not hydrated, outdated=not outdated)
        await by_hand.push(opposite, hydrated=hydrated, outdated=outdated)
        await by_hook.handle(Appended((there,)))
        assert await replayed.replay([there]) == 1
        assert told == [expected, expected, expected, ["all"] if outdated else ["on", "all"]]


def test_once_on_and_all_tell_new_from_hydrated_and_outdated_records() -> None:
    run(the_truth)


@pytest.mark.parametrize("kind", ["once", "on"])
def test_a_handler_that_is_told_of_everything_is_seen(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = projector_module.Listener
    genuine = listener.wants

    def wants(self: Any, *, hydrated: bool, outdated: bool) -> bool:
        return self.kind == kind or genuine(self, hydrated=hydrated, outdated=outdated)

    monkeypatch.setattr(listener, "wants", wants)
    with pytest.raises(AssertionError):
        run(the_truth)


def test_flags_come_from_the_ledger_for_appends_imports_and_late_events() -> None:
    async def main(store: EventStore) -> None:
        projector = Projector()
        told = told_to(projector)
        yesterday = wall_clock_ms() - 86_400_000
        async with EventStore.open("memory:", events=[Noted], clock=lambda: yesterday) as elsewhere:
            [early] = await elsewhere.append("a", Noted(0))
            [foreign] = await elsewhere.append("b", Noted(0))
        store.on_appended(projector.handle)
        await store.append("a", Noted(1))
        assert told == ["once", "on", "all"]
        told.clear()
        await store.import_records([foreign])
        assert told == ["on", "all"], "hydrated"
        told.clear()
        await store.import_records([early])
        assert told == ["all"], "hydrated and outdated: the stream has a newer one"

    in_memory(main)


def test_replay_never_runs_once_also_for_records_that_are_new_here() -> None:
    async def main(store: EventStore) -> None:
        projector = Projector()
        told = told_to(projector)
        await store.append("a", Noted(1), Other(2), Noted(3))
        assert await projector.replay(store.read()) == 3
        assert await projector.replay(store.read("a").__aiter__()) == 3
        assert told == ["on", "all"] * 4

    in_memory(main)


def test_replay_stops_at_the_first_failure() -> None:
    async def main(store: EventStore) -> None:
        projector, seen = Projector(), list[int]()

        @projector.all(Noted)
        async def handler(record: Record[Noted]) -> None:
            seen.append(record.data.number)
            if record.data.number == 2:
                raise ZeroDivisionError

        await store.append("a", Noted(1), Noted(2), Noted(3))
        with pytest.raises(HandlerFailed) as caught:
            await projector.replay(store.read())
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert seen == [1, 2]

    in_memory(main)


def test_a_handler_is_told_of_its_types_only_and_may_have_several() -> None:
    async def main(store: EventStore) -> None:
        projector, seen = Projector(), list[object]()

        @projector.on(Other)
        async def others(record: Record[Other]) -> None:
            seen.append(("others", record.data))

        @projector.all(Noted, Other)
        async def both(record: Record[Any]) -> None:
            seen.append(("both", record.data))

        store.on_appended(projector.handle)
        await store.append("a", Noted(1), Other(2))
        assert seen == [("both", Noted(1)), ("others", Other(2)), ("both", Other(2))]

    in_memory(main)


def test_what_cannot_be_handled_is_refused_when_it_is_declared() -> None:
    class NoEvent: ...

    projector = Projector()
    for kind in (projector.once, projector.on, projector.all):
        with pytest.raises(EventDefinitionError):
            kind()
        with pytest.raises(UnknownEvent):
            kind(NoEvent)
    with pytest.raises(InvalidName):
        projector.batch("")


# --- order --------------------------------------------------------------------------------------


def test_handlers_of_a_record_run_one_after_another_as_they_were_declared() -> None:
    async def main(store: EventStore) -> None:
        projector, seen = Projector(), list[str]()
        gate = Gate()

        @projector.all(Noted)
        async def first(record: Record[Noted]) -> None:
            await gate.passed()
            seen.append("first")

        @projector.once(Noted)
        def second(record: Record[Noted]) -> None:
            seen.append("second")

        @projector.on(Noted)
        async def third(record: Record[Noted]) -> None:
            seen.append("third")

        @projector.all(Noted)
        def fourth(record: Record[Noted]) -> None:
            seen.append("fourth")

        store.on_appended(projector.handle)
        gate.close()
        task = asyncio.create_task(store.append("a", Noted(1)))
        await gate.reached.wait()
        await turns()
        assert seen == []
        gate.open()
        await task
        assert seen == ["first", "second", "third", "fourth"]

    in_memory(main)


def test_streams_run_side_by_side_and_each_handles_one_record_at_a_time_in_order() -> None:
    async def main(store: EventStore) -> None:
        projector, order = Projector(), list[tuple[str, int]]()
        barrier = asyncio.Barrier(4)  # passed only if four streams are at work at once
        busy: set[str] = set()

        @projector.once(Noted)
        async def handler(record: Record[Noted]) -> None:
            assert record.stream not in busy
            busy.add(record.stream)
            await barrier.wait()
            await turns(record.data.number % 3)
            busy.remove(record.stream)
            order.append((record.stream, record.data.number))

        failures: list[HookFailure] = []
        store.on_error(failures.append)
        store.on_appended(projector.handle)
        await asyncio.gather(
            *(store.append(stream, Noted(n)) for n in range(12) for stream in ("a", "b", "c", "d"))
        )
        assert not failures
        for stream in ("a", "b", "c", "d"):
            assert [number for s, number in order if s == stream] == list(range(12))

    in_memory(main)


def test_plain_handlers_of_different_streams_run_in_threads_side_by_side() -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")

    async def main(store: EventStore) -> None:
        projector, seen = Projector(), list[tuple[str, bool]]()
        barrier = threading.Barrier(2, timeout=20)

        @projector.once(Noted)
        def handler(record: Record[Noted]) -> None:
            barrier.wait()
            seen.append((user.get(), threading.current_thread() is threading.main_thread()))

        store.on_appended(projector.handle)
        user.set("jane")
        await store.append_many([to("a", Noted(1)), to("b", Noted(2))])
        assert seen == [("jane", False)] * 2

    in_memory(main)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans(), st.booleans()), max_size=20))
def test_a_batch_handler_holds_its_streams_and_nobody_overtakes_it(
    appends: list[tuple[str, bool, bool]],
) -> None:
    async def main(store: EventStore) -> None:
        projector, seen = Projector(), dict[str, list[int]]()

        @projector.batch("bulk")
        async def bulk(records: Sequence[Record[Any]]) -> None:
            await turns(3)
            for record in records:
                seen.setdefault(record.stream, []).append(record.version)

        @projector.all(Noted)
        async def single(record: Record[Noted]) -> None:
            await turns(1)
            seen.setdefault(record.stream, []).append(record.version)

        store.on_appended(projector.handle)

        async def append(stream: str, wide: bool, batch: bool) -> None:
            items = [to(stream, Noted(1)), *([to("shared", Noted(2))] if wide else [])]
            await store.append_many(items, batch="bulk" if batch else None)

        await asyncio.gather(*(append(*each) for each in appends))
        for versions in seen.values():
            assert versions == list(range(1, len(versions) + 1))
        assert sum(map(len, seen.values())) == (await store.info()).position

    in_memory(main)


# --- batches ------------------------------------------------------------------------------------


def test_a_batch_is_handed_over_whole_instead_of_to_single_handlers() -> None:
    async def main(store: EventStore) -> None:
        projector, batches = Projector(), list[list[int]]()
        told = told_to(projector)

        @projector.batch("bulk")
        async def bulk(records: Sequence[Record[Any]]) -> None:
            batches.append([record.data.number for record in records])

        @projector.batch("bulk")
        def bulk_in_thread(records: Sequence[Record[Any]]) -> None:
            batches.append([-record.data.number for record in records])

        store.on_appended(projector.handle)
        await store.append_many(
            [to("b", Noted(1)), to("a", Noted(2)), to("b", Noted(3))], batch="bulk"
        )
        assert (batches, told) == ([[1, 2, 3], [-1, -2, -3]], [])
        await store.append("a", Noted(4), batch="a key that nobody handles")
        assert told == ["once", "on", "all"]

    in_memory(main)


def test_batches_pushed_by_hand_reach_their_handlers_and_failures_are_all_told() -> None:
    async def main() -> None:
        records = await some_records(Noted(1), Noted(2))
        projector, seen = Projector(), list[int]()

        @projector.batch("bulk")
        async def bad(records: Sequence[Record[Any]]) -> None:
            raise ZeroDivisionError

        @projector.batch("bulk")
        async def good(records: Sequence[Record[Any]]) -> None:
            seen.extend(record.data.number for record in records)

        with pytest.raises(HandlerFailed) as caught:
            await projector.push_many("bulk", records)
        assert caught.value.record_ids == tuple(record.id for record in records)
        assert seen == [1, 2]
        await projector.push_many("bulk", [])
        await projector.handle(Appended((), "bulk"))
        assert seen == [1, 2], "of nothing, nobody is told"

    run(main)


# --- success, failure ---------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["async def", "def"])
def test_once_awaits_on_success_with_the_result_or_on_error_with_the_error(plain: bool) -> None:
    async def main() -> None:
        projector, seen, gate = Projector(), list[object](), Gate()

        async def succeeded(record: Record[Any], result: Any) -> None:
            await gate.passed()
            seen.append(("succeeded", record.data.number, result))

        async def failed(record: Record[Any], error: Exception) -> None:
            await gate.passed()
            seen.append(("failed", record.data.number, type(error)))

        def work(record: Record[Noted]) -> str:
            if record.data.number == 2:
                raise ZeroDivisionError
            return "done"

        async def work_on_loop(record: Record[Noted]) -> str:
            return work(record)

        declare = projector.once(Noted, on_success=succeeded, on_error=failed)
        declare(work if plain else work_on_loop)
        for record in await some_records(Noted(1), Noted(2)):
            gate.close()
            task = asyncio.create_task(projector.push(record))
            await gate.reached.wait()
            await turns()
            assert not task.done()
            gate.open()
            await task  # with on_error, the error counts as handled
        assert seen == [("succeeded", 1, "done"), ("failed", 2, ZeroDivisionError)]

    run(main)


def test_an_on_success_or_on_error_that_fails_is_a_failure_of_the_handler() -> None:
    async def main() -> None:
        projector = Projector()

        def broken(record: Record[Any], _: object) -> None:
            raise KeyError("broken")

        @projector.once(Noted, on_success=broken, on_error=broken)
        async def work(record: Record[Noted]) -> None:
            if record.data.number == 2:
                raise ZeroDivisionError

        for record in await some_records(Noted(1), Noted(2)):
            with pytest.raises(HandlerFailed) as caught:
                await projector.push(record)
            assert isinstance(caught.value.__cause__, KeyError)
            assert "work" in caught.value.handler

    run(main)


def test_a_handler_that_fails_stops_neither_its_neighbours_nor_the_records_behind_it() -> None:
    async def main(store: EventStore) -> None:
        projector, seen = Projector(), list[int]()
        failures: list[HookFailure] = []

        @projector.once(Noted)
        async def bad(record: Record[Noted]) -> None:
            raise ZeroDivisionError

        @projector.on(Noted)
        def bad_in_thread(record: Record[Noted]) -> None:
            next(iter(()))

        @projector.on(Noted)
        async def waits_for_what_is_cancelled(record: Record[Noted]) -> None:
            raise asyncio.CancelledError

        @projector.all(Noted)
        async def good(record: Record[Noted]) -> None:
            seen.append(record.data.number)

        store.on_appended(projector.handle)
        store.on_error(failures.append)
        first, second = await store.append("a", Noted(1), Noted(2))
        await store.append("a", Noted(3))
        assert seen == [1, 2, 3]
        error: Any = failures[0].error
        assert isinstance(error, ExceptionGroup)
        failed: list[Any] = [*error.exceptions]  # pyright: ignore[reportUnknownMemberType]
        assert [each.record_ids for each in failed] == [
            (first.id,), (first.id,), (first.id,), (second.id,), (second.id,), (second.id,)
        ]  # fmt: skip
        assert len(failures) == 2
        assert await store.read().to_list() != []

    in_memory(main)


def test_a_push_that_is_cancelled_cancels_its_handlers_and_no_others() -> None:
    async def main() -> None:
        projector, gate, ended = Projector(), Gate(), list[str]()

        @projector.on(Noted)
        async def handler(record: Record[Noted]) -> None:
            await gate.passed()
            ended.append("handler")

        [record] = await some_records(Noted(1))
        gate.close()
        task = asyncio.create_task(projector.push(record))
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open()
        await projector.push(record)
        assert ended == ["handler"], "the first was cancelled with who waited for it"

    run(main)


@pytest.mark.parametrize("late", [False, True], ids=["awaits after it", "returns at once"])
def test_a_handler_that_cancels_its_own_task_fails_alone_and_is_told_as_such(late: bool) -> None:
    async def main(store: EventStore) -> None:
        projector, seen, failures = Projector(), list[int](), list[HookFailure]()

        @projector.all(Noted)
        async def suicidal(record: Record[Noted]) -> None:
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            if not late:
                await asyncio.sleep(0)

        @projector.batch("bulk")
        async def suicidal_too(records: Sequence[Record[Any]]) -> None:
            await suicidal(records[0])

        @projector.batch("bulk")
        async def bulk(records: Sequence[Record[Any]]) -> None:
            seen.extend(record.data.number for record in records)

        @projector.all(Noted)
        async def good(record: Record[Noted]) -> None:
            seen.append(record.data.number)

        store.on_appended(projector.handle)
        store.on_error(failures.append)
        records = [
            *await store.append("a", Noted(1), Noted(2)),
            *await store.append_many([to("a", Noted(3)), to("b", Noted(4))], batch="bulk"),
            *await store.append("b", Noted(5)),
        ]
        assert seen == [1, 2, 3, 4, 5]
        errors: list[Any] = []
        for failure in failures:
            error: Any = failure.error
            errors += getattr(error, "exceptions", [error])
        assert all(isinstance(error, HandlerFailed) for error in errors)
        assert [id for error in errors for id in error.record_ids] == [r.id for r in records]
        assert all("suicidal" in error.handler for error in errors)
        with pytest.raises(HandlerFailed, match="suicidal"):
            await projector.push(records[0])

    in_memory(main)


def test_a_plain_handler_that_is_cancelled_holds_its_stream_until_its_thread_has_ended() -> None:
    async def main() -> None:
        projector, seen = Projector(), list[str]()
        begun, go_on = threading.Event(), threading.Event()

        @projector.on(Noted)
        def handler(record: Record[Noted]) -> None:
            if record.data.number == 1:
                begun.set()
                go_on.wait(timeout=20)
            seen.append(f"handled {record.data.number}")

        first, second = await some_records(Noted(1), Noted(2))
        pushing = asyncio.create_task(projector.push(first))
        await asyncio.to_thread(begun.wait, 20)
        pushing.cancel()
        behind = asyncio.create_task(projector.push(second))
        await turns()
        assert not pushing.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await pushing
        await behind
        assert seen == ["handled 1", "handled 2"]

    run(main)


def test_a_projector_of_a_module_outlives_the_loops_in_which_it_was_used() -> None:
    projector, seen = Projector(), list[int]()
    held_up = asyncio.Event()

    @projector.on(Noted)
    async def handler(record: Record[Noted]) -> None:
        if record.data.number == 1:
            await held_up.wait()
        seen.append(record.data.number)

    async def dies() -> None:
        store = await EventStore.open("memory:", events=[Noted])
        store.on_appended(projector.handle)
        tasks.append(asyncio.create_task(store.append("a", Noted(1))))
        await turns(50)

    async def main(store: EventStore) -> None:
        store.on_appended(projector.handle)
        await store.append("a", Noted(2))

    tasks: list[asyncio.Task[Any]] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(dies())
    loop.close()
    in_memory(main)
    tasks.clear()
    gc.collect()  # which ends what the loop left behind, and nothing of it raises
    assert seen == [2]


# --- a handler that would wait for itself -------------------------------------------------------


@pytest.mark.parametrize("stream", ["a", "b"], ids=["own stream", "another stream"])
@pytest.mark.parametrize("how", ["push", "handle", "replay", "push_many", "gathered", "thread"])
def test_a_handler_that_pushes_by_hand_raises_instead_of_waiting_for_ever(
    how: str, stream: str
) -> None:
    async def main() -> None:
        projector, raised = Projector(), list[MisusedStore]()
        loop = asyncio.get_running_loop()
        [record] = await some_records(Noted(1))
        [pushed] = await some_records(Noted(2), stream=stream)

        @projector.batch("bulk")
        async def bulk(records: Sequence[Record[Any]]) -> None:
            raise AssertionError("never reached")

        async def again() -> None:
            match how:
                case "push":
                    await projector.push(pushed)
                case "handle":
                    await projector.handle(Appended((pushed,)))
                case "replay":
                    await projector.replay([pushed])
                case "push_many":
                    await projector.push_many("bulk", [pushed])
                case "gathered":
                    await asyncio.gather(projector.push(pushed))
                case _:
                    pushing = asyncio.run_coroutine_threadsafe
                    await asyncio.to_thread(
                        lambda: pushing(projector.push(pushed), loop).result(timeout=10)
                    )

        @projector.on(Noted)
        async def handler(record: Record[Noted]) -> None:
            if record.data.number == 2:
                return
            with pytest.raises(MisusedStore, match="append the event instead") as caught:
                await again()
            raised.append(caught.value)

        await projector.push(record)
        assert len(raised) == 1
        await projector.push(pushed)  # and nothing is blocked
        await projector.push(record)

    run(main)


def test_handlers_that_push_to_each_others_streams_raise_instead_of_waiting_for_ever() -> None:
    async def main(store: EventStore) -> None:
        projector, both, failures = Projector(), asyncio.Barrier(2), list[HookFailure]()
        others = {"b": (await store.append("a", Noted(2)))[0]}
        others["a"] = (await store.append("b", Noted(2)))[0]

        @projector.on(Noted)
        async def handler(record: Record[Noted]) -> None:
            if record.data.number == 1:
                await both.wait()
                await projector.push(others[record.stream])

        store.on_appended(projector.handle)
        store.on_error(failures.append)
        await asyncio.gather(store.append("a", Noted(1)), store.append("b", Noted(1)))
        assert len(failures) == 2
        assert all(isinstance(f.error.__cause__, MisusedStore) for f in failures)

    in_memory(main)


def test_a_handler_that_pushes_to_a_stream_which_a_batch_waits_for_raises_too() -> None:
    async def main(store: EventStore) -> None:
        projector, gate, seen = Projector(), Gate(), list[int]()
        failures: list[HookFailure] = []
        [there] = await store.append("b", Noted(2))

        @projector.on(Noted)
        async def handler(record: Record[Noted]) -> None:
            await gate.passed()
            await projector.push(there)

        @projector.batch("k")
        async def bulk(records: Sequence[Record[Any]]) -> None:
            seen.append(len(records))

        store.on_appended(projector.handle)
        store.on_error(failures.append)
        gate.close()
        first = asyncio.create_task(store.append("a", Noted(1)))
        await gate.reached.wait()
        batch = asyncio.create_task(
            store.append_many([to("a", Noted(3)), to("b", Noted(3))], batch="k")
        )
        await turns(30)
        gate.open()
        await asyncio.gather(first, batch)
        [failure] = failures
        assert isinstance(failure.error.__cause__, MisusedStore)
        assert seen == [2]

    in_memory(main)


def test_a_handler_may_push_to_another_projector_and_wait_for_it() -> None:
    async def main() -> None:
        projector, other, seen = Projector(), Projector(), list[str]()

        @projector.on(Noted)
        async def handler(record: Record[Noted]) -> None:
            await other.push(record)
            seen.append("handler")

        @other.on(Noted)
        async def behind(record: Record[Noted]) -> None:
            seen.append("behind")

        await projector.push((await some_records(Noted(1)))[0])
        assert seen == ["behind", "handler"]

    run(main)


# --- states -------------------------------------------------------------------------------------


@reducer("total", initial=int)
def total(state: int, record: Record[Any]) -> int:
    number: int = record.data.number
    return state + number


def test_a_state_takes_a_subscription_and_says_so() -> None:
    async def main() -> None:
        told: list[str] = []
        projector = Projector()

        @projector.state(total)
        async def state(state: int, record: Record[Any]) -> None: ...

        @projector.all(Noted)
        async def other(record: Record[Noted]) -> None:
            told.append("all")

        [record] = await some_records(Noted(1))
        for hand_over in (
            lambda: projector.push(record),
            lambda: projector.handle(Appended((record,))),
            lambda: projector.replay([record]),
        ):
            with pytest.raises(HandlerFailed) as caught:
                await hand_over()
            assert isinstance(caught.value.__cause__, MisusedStore)
            assert "store.subscription" in str(caught.value.__cause__)
        assert told == ["all"] * 3

    run(main)


def test_a_wrapped_projector_keeps_states_and_the_order_of_declaration() -> None:
    async def main() -> None:
        told: list[object] = []
        projector = Projector()

        @projector.state(total)
        async def before(state: int, record: Record[Any]) -> None:
            told.append(("before", state))

        @projector.all(Noted)
        async def between(record: Record[Noted]) -> None:
            told.append("between")

        @projector.state(total, Noted, Other)
        def after(state: int, record: Record[Noted | Other]) -> None:
            told.append(("after", state))

        async def state_of(reducer: Reducer[Any], stream: str) -> int:
            assert (reducer, stream) == (total, "a")
            return 7

        wrapped = projector.wrapped(lambda handler: handler, state_of=state_of)
        for record in await some_records(Noted(1), Other(2)):
            await wrapped.push(record)
        assert told == [("before", 7), "between", ("after", 7), ("before", 7), ("after", 7)]
        assert projector.of_every_type
        assert projector.types == ("noted", "other")
        kinds = [listener.kind for listener in projector.listeners("noted")]
        assert kinds == ["state", "all", "state"]
        assert [listener.kind for listener in projector.listeners("unknown")] == ["state"]

    run(main)


def test_a_state_is_declared_with_a_reducer_and_event_classes() -> None:
    projector = Projector()
    undecorated: Any = total.__wrapped__
    wrong: Any
    for wrong in (Noted, "total", undecorated):
        with pytest.raises(EventDefinitionError, match="takes a reducer first"):
            projector.state(wrong)
    for wrong in ("noted", Noted(1)):
        with pytest.raises(EventDefinitionError, match="takes event classes"):
            projector.state(total, wrong)
    with pytest.raises(UnknownEvent):
        projector.state(total, int)
    assert not projector.of_every_type
