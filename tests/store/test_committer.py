"""Group commit: many appends in one transaction, and each with an outcome of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, OutcomeUnknown, Record, StoreClosed, WrongVersion, to
from everlog.core.sequencer import Append, NewEvent
from everlog.errors import (
    IdConflict,
    LedgerBusy,
    PartialRetry,
    StorageError,
    StorageFailed,
    Unreachable,
)
from everlog.ports.ledger import Request
from everlog.store.committer import BATCH_EVENTS, Committer
from everlog.store.saving import Saving
from tests.store.watched import KINDS, Gate, Noted, Notes, Said, Watch, numbers, run, turns, watched

Task = asyncio.Task[list[Record[Any]]]

pytestmark = pytest.mark.parametrize("kind", KINDS)


async def queued_behind(
    store: EventStore, watch: Watch, appends: Sequence[Callable[[], Any]]
) -> tuple[asyncio.Task[Any], list[asyncio.Task[Any]]]:
    """Holds up one append inside its commit, and queues others behind it."""
    watch.before.close()
    first = asyncio.create_task(store.append("first", Noted(0)))
    await watch.before.reached.wait()
    tasks = [asyncio.create_task(append()) for append in appends]
    await turns()
    return first, tasks


def appending(store: EventStore, stream: str, number: int, **options: Any) -> Callable[[], Any]:
    return lambda: store.append(stream, Noted(number), **options)


# --- batches ------------------------------------------------------------------------------------


def test_what_is_queued_while_a_commit_runs_becomes_one_commit(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            first, tasks = await queued_behind(
                store, watch, [appending(store, f"s{i}", i) for i in range(50)]
            )
            assert watch.sizes == [1]
            watch.before.open()
            await asyncio.gather(first, *tasks)
            assert watch.sizes == [1, 50]

    run(main)


def test_a_lone_append_commits_at_once_without_a_timer(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):

            def no_timer(*args: Any, **kw: Any) -> Any:
                raise AssertionError("an append set a timer")

            with monkeypatch.context() as patched:
                loop = asyncio.get_running_loop()
                patched.setattr(loop, "call_at", no_timer)
                patched.setattr(loop, "call_later", no_timer)
                for number in range(3):
                    await store.append("a", Noted(number))
            assert watch.sizes == [1, 1, 1]

    run(main)


def test_a_batch_holds_at_most_500_events_unless_one_request_has_more(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            many = [to("many", Noted(number)) for number in range(BATCH_EVENTS + 100)]
            first, tasks = await queued_behind(
                store,
                watch,
                [
                    *(appending(store, "a", number) for number in range(BATCH_EVENTS + 10)),
                    lambda: store.append_many(many),
                    appending(store, "b", 1),
                ],
            )
            watch.before.open()
            await asyncio.gather(first, *tasks)
            assert watch.sizes == [1, BATCH_EVENTS, 10, 1, 1]
            assert await numbers(store, "a") == list(range(BATCH_EVENTS + 10))

    run(main)


def test_a_batch_holds_at_most_a_mebibyte_unless_one_request_has_more(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            long = "x" * 400_000
            first, tasks = await queued_behind(
                store, watch, [lambda: store.append("a", Said(long)) for _ in range(5)]
            )
            large = asyncio.create_task(store.append("b", *[Said(long)] * 4))
            await turns()
            watch.before.open()
            await asyncio.gather(first, *tasks, large)
            assert watch.sizes == [1, 2, 2, 1, 1]

    run(main)


def test_the_order_of_positions_and_of_answers_is_the_order_of_queueing(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            answered: list[int] = []

            def append(number: int) -> Callable[[], Any]:
                async def appended() -> Record[Any]:
                    [record] = await store.append(f"s{number % 7}", Noted(number))
                    answered.append(number)
                    return record

                return appended

            first, tasks = await queued_behind(store, watch, [append(i) for i in range(1200)])
            watch.before.open()
            await first
            records = await asyncio.gather(*tasks)
            assert [record.position for record in records] == list(range(2, 1202))
            assert answered == list(range(1200))
            assert [r.created for r in records] == sorted({r.created for r in records})

    run(main)


def test_a_commit_sees_no_context_variable_of_the_caller_who_happened_to_begin_it(
    kind: str, tmp_path: Path
) -> None:
    request_id: ContextVar[str] = ContextVar("request_id", default="none")

    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            seen: list[str] = []

            def look(requests: Sequence[Request]) -> None:
                seen.append(request_id.get())

            watch.refuse = look
            request_id.set("mine")
            await store.append("a", Noted())
            assert seen == ["none"]

    run(main)


# --- a bad neighbour costs nothing --------------------------------------------------------------


def test_a_refused_append_leaves_its_neighbours_in_the_same_commit(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            await store.append("a", Noted(-1), ids=["taken"])
            first, tasks = await queued_behind(
                store,
                watch,
                [
                    appending(store, "a", 1),
                    appending(store, "a", 2, expect=7),
                    appending(store, "a", 3, ids=["taken"]),
                    appending(store, "a", 4, expect=2),
                ],
            )
            watch.before.open()
            await first
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [list, WrongVersion, IdConflict, list]
            assert watch.sizes == [1, 1, 4]
            assert await numbers(store, "a") == [-1, 1, 4]
            assert (await store.verify()).ok

    run(main)


async def a_failing_batch(store: EventStore, watch: Watch) -> None:
    """A batch that fails as a whole: everybody is tried alone, only the guilty one fails."""
    guilty = StorageFailed("the disk failed")

    def refuse(requests: Sequence[Request]) -> Exception | None:
        poisoned = any(
            new.stream == "poison"
            for request in requests
            if isinstance(request, Append)
            for new in request.events
        )
        return guilty if poisoned else None

    watch.refuse = refuse
    streams = ["a", "b", "poison", "c"]
    first, tasks = await queued_behind(
        store, watch, [appending(store, name, index) for index, name in enumerate(streams)]
    )
    watch.before.open()
    await first
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(result) for result in results] == [list, list, StorageFailed, list]
    assert watch.sizes == [1, 4, 1, 1, 1, 1]
    assert await numbers(store) == [0, 0, 1, 3]
    assert (await store.verify()).ok


def test_a_failed_batch_is_retried_one_by_one_and_fails_the_guilty_alone(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            await a_failing_batch(store, watch)

    run(main)


def test_without_the_retry_one_by_one_a_bad_neighbour_is_seen(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = Committer._written  # pyright: ignore[reportPrivateUsage]

    def all_or_nothing(self: Committer, batch: Sequence[Any], writing: asyncio.Future[Any]) -> None:
        error = writing.exception()
        if isinstance(error, StorageFailed):
            for queued in batch:
                queued.future.set_exception(error)
            batch = []
            writing = asyncio.get_running_loop().create_future()
            writing.set_result([])
        original(self, batch, writing)

    monkeypatch.setattr(Committer, "_written", all_or_nothing)

    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            with pytest.raises(AssertionError):
                await a_failing_batch(store, watch)

    run(main)


def test_a_ledger_that_takes_no_batches_still_takes_everything_once(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            watch.refuse = lambda requests: StorageFailed("no") if len(requests) > 1 else None
            tasks = [store.append("a", Noted(number)) for number in range(30)]
            await asyncio.gather(*tasks)
            assert await numbers(store, "a") == list(range(30))

    run(main)


@pytest.mark.parametrize("waited_for", [LedgerBusy, Unreachable])
def test_a_ledger_that_was_waited_for_in_vain_is_reported_to_all_and_not_asked_again(
    kind: str, tmp_path: Path, waited_for: type[StorageError]
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            first, tasks = await queued_behind(
                store, watch, [appending(store, "a", number) for number in range(5)]
            )
            error = waited_for("for too long")
            watch.refuse = lambda requests: error
            watch.before.open()
            results = await asyncio.gather(first, *tasks, return_exceptions=True)
            assert [type(result) for result in results] == [waited_for] * 6
            assert watch.sizes == [1, 5]
            watch.refuse = lambda requests: None
            assert await numbers(store) == []
            await store.append("a", Noted(9))  # and it goes on
            assert await numbers(store) == [9]

    run(main)


@pytest.mark.parametrize("waited_for", [LedgerBusy, Unreachable])
def test_a_ledger_that_is_waited_for_in_vain_by_one_of_a_failed_batch_is_not_asked_for_the_others(
    kind: str, tmp_path: Path, waited_for: type[StorageError]
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            first, tasks = await queued_behind(
                store, watch, [appending(store, "a", number) for number in range(5)]
            )
            errors = iter([None, StorageFailed("the batch"), waited_for("for too long")])
            watch.refuse = lambda requests: next(errors)
            watch.before.open()
            await first
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [waited_for] * 5
            assert watch.sizes == [1, 5, 1]

    run(main)


def test_a_defect_in_a_ledger_reaches_every_caller_and_the_committer_goes_on(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            watch.refuse = lambda requests: ZeroDivisionError("a defect")
            results = await asyncio.gather(
                *(store.append("a", Noted(number)) for number in range(3)), return_exceptions=True
            )
            assert [type(result) for result in results] == [ZeroDivisionError] * 3
            watch.refuse = lambda requests: None
            await store.append("a", Noted(9))
            assert await numbers(store) == [9]

    run(main)


# --- cancellation -------------------------------------------------------------------------------


def test_a_caller_cancelled_while_queued_takes_its_append_back(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            first, tasks = await queued_behind(
                store, watch, [appending(store, "a", number) for number in range(3)]
            )
            tasks[1].cancel()
            watch.before.open()
            results = await asyncio.gather(first, *tasks, return_exceptions=True)
            assert isinstance(results[2], asyncio.CancelledError)
            assert await numbers(store, "a") == [0, 2]
            assert watch.sizes == [1, 2]

    run(main)


def test_a_caller_cancelled_while_committing_is_stored_whole_and_its_hooks_run(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            told: list[int] = []

            async def hook(appended: Any) -> None:
                told.extend(record.data.number for record in appended.records)

            store.on_appended(hook)
            watch.before.close()
            task = asyncio.create_task(store.append("a", Noted(1), Noted(2)))
            await watch.before.reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            watch.before.open()
            await store.drained()
            assert await numbers(store, "a") == [1, 2]
            assert told == [1, 2]

    run(main)


def test_a_cancelled_append_is_wholly_there_or_wholly_not(
    kind: str, tmp_path: Path, rng: random.Random
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, _):
            there = absent = 0
            for turn in range(300):
                ids = [f"{turn}-{index}" for index in range(3)]
                other = asyncio.create_task(store.append("other", Noted(turn)))
                if rng.random() < 0.5:
                    await other  # otherwise it is inside its commit, and the next one queued
                task = asyncio.create_task(store.append("a", *[Noted(turn)] * 3, ids=ids))
                await turns(rng.randrange(1, 4))
                if rng.random() < 0.3:
                    # A turn that comes from the thread that writes: in the middle of a commit.
                    await store.ledger.head()
                if not task.cancel():
                    continue
                await asyncio.wait([task, other])
                await store.drained()
                found = [await store.find(id) is not None for id in ids]
                assert found in ([True] * 3, [False] * 3)
                if task.cancelled():
                    there += found[0]
                    absent += not found[0]
                    # Whichever it was, the same ids again make it so, once.
                    await store.append("a", *[Noted(turn)] * 3, ids=ids)
            assert there > 0, "no cancelled append had been stored: the test shows nothing"
            assert absent > 0, "every cancelled append had been stored: the test shows nothing"
            print(f"{there} were stored, {absent} were not")
            written = await numbers(store, "a")
            assert len(written) == len(set(written)) * 3
            assert (await store.verify()).ok

    run(main)


def test_a_ledger_that_answers_too_few_holds_up_nobody(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            first, tasks = await queued_behind(
                store, watch, [appending(store, f"s{i}", i) for i in range(3)]
            )
            watch.answers = 1
            watch.before.open()
            await first
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert [type(result) for result in results] == [OutcomeUnknown] * 3
            watch.answers = None
            await store.append("after", Noted(9))

    run(main)


# --- outcomes that are not known ----------------------------------------------------------------


def test_an_unknown_outcome_names_each_callers_own_ids_and_a_retry_settles_it(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            first, tasks = await queued_behind(
                store, watch, [appending(store, "a", n, ids=[f"id-{n}"]) for n in range(3)]
            )
            watch.lose_answers = True
            watch.before.open()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for number, result in enumerate(results):
                assert isinstance(result, OutcomeUnknown)
                assert result.ids == (f"id-{number}",)
                assert isinstance(result.__cause__, OutcomeUnknown)
            with pytest.raises(OutcomeUnknown):
                await first
            assert watch.sizes == [1, 3]  # a batch that may have landed is not tried again
            watch.lose_answers = False
            for number in range(3):
                [record] = await store.append("a", Noted(number), ids=[f"id-{number}"])
                assert record.version == number + 1
            assert await numbers(store, "a") == [0, 1, 2]

    run(main)


def test_what_was_queued_when_the_loop_ends_is_told_that_its_outcome_is_unknown(
    kind: str, tmp_path: Path
) -> None:
    results: list[BaseException] = []

    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            committer = Committer(store.ledger)
            watch.before.close()
            waiting = asyncio.ensure_future(committer.commit(request("in-flight")))
            await watch.before.reached.wait()
            behind = asyncio.ensure_future(committer.commit(request("behind")))
            await turns()
            writing = committer._writing  # pyright: ignore[reportPrivateUsage]
            assert writing is not None
            writing.cancel()  # as asyncio.run does with what is left
            results.extend(
                result
                for result in await asyncio.gather(waiting, behind, return_exceptions=True)
                if isinstance(result, BaseException)
            )
            assert committer.idle

    def request(id: str) -> Append:
        new = NewEvent(id, "a", "noted", 1, "noted", '{"number":1}', "null", id, None, bytes(32))
        return Append((new,))

    run(main)
    assert [type(result) for result in results] == [OutcomeUnknown, OutcomeUnknown]
    assert [getattr(result, "ids", None) for result in results] == [("in-flight",), ("behind",)]


# --- aggregates: every event once ---------------------------------------------------------------


async def saved_after(
    store: EventStore, watch: Watch, *, landed: bool, by: str, more: bool
) -> None:
    """Interrupts a save, pushes more or not, saves again: every event is there once."""
    notes = store.new(Notes, id="notes-1")
    notes.push(Noted(1)).push(Noted(2))
    if by == "cancellation":
        gate: Gate = watch.after if landed else watch.before
        gate.close()
        # Landed: cancelled when the commit is done. Not landed: while it is queued behind another.
        other = None if landed else asyncio.create_task(store.append("other", Noted(0)))
        if other is not None:
            await gate.reached.wait()
        task = asyncio.create_task(notes.save())
        await gate.reached.wait()
        await turns()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open()
        if other is not None:
            await other
    else:
        if landed:
            watch.lose_answers = True
        else:
            watch.refuse = lambda requests: OutcomeUnknown([])
        with pytest.raises(OutcomeUnknown):
            await notes.save()
        watch.lose_answers = False
        watch.refuse = lambda requests: None
    if more:
        notes.push(Noted(3))
    await notes.save()
    expected = [1, 2, 3] if more else [1, 2]
    assert await numbers(store, "notes-1") == expected
    assert (notes.log.version, notes.log.is_dirty) == (len(expected), False)
    await notes.push(Noted(4)).save()
    assert await numbers(store, "notes-1") == [*expected, 4]
    assert notes.total == sum(expected) + 4


@pytest.mark.parametrize("more", [False, True], ids=["the same again", "with more"])
@pytest.mark.parametrize("landed", [False, True], ids=["it had not landed", "it had landed"])
@pytest.mark.parametrize("by", ["cancellation", "unknown outcome"])
def test_a_save_repeated_after_an_interruption_stores_each_event_once(
    kind: str, tmp_path: Path, by: str, landed: bool, more: bool
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            await saved_after(store, watch, landed=landed, by=by, more=more)

    run(main)


def test_without_settling_an_interrupted_save_is_seen_to_be_stuck(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing_found(self: Saving, aggregates: object) -> None:
        return

    monkeypatch.setattr(Saving, "_settle", nothing_found)

    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            with pytest.raises(PartialRetry):
                await saved_after(store, watch, landed=True, by="cancellation", more=True)

    run(main)


def test_a_save_begun_while_a_cancelled_one_is_still_committing_stores_each_event_once(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            notes = store.new(Notes, id="notes-1").push(Noted(1))
            watch.before.close()
            task = asyncio.create_task(notes.save())
            await watch.before.reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            notes.push(Noted(2))
            again = asyncio.create_task(notes.save())
            await turns()
            watch.before.open()
            await again
            assert await numbers(store, "notes-1") == [1, 2]
            assert (notes.log.version, notes.log.is_dirty) == (2, False)

    run(main)


def test_two_saves_of_one_aggregate_at_once_store_each_event_once_and_lose_none(
    kind: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            notes = store.new(Notes, id="notes-1").push(Noted(1))
            watch.before.close()
            first = asyncio.create_task(notes.save())
            await watch.before.reached.wait()
            second = asyncio.create_task(notes.save())
            await turns()
            notes.push(Noted(2))
            third = asyncio.create_task(notes.save())
            await turns()
            watch.before.open()
            await asyncio.gather(first, second, third)
            assert await numbers(store, "notes-1") == [1, 2]
            assert (notes.log.version, notes.log.is_dirty) == (2, False)

    run(main)


def test_a_conflict_after_an_interrupted_save_is_still_reported(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            notes = store.new(Notes, id="notes-1").push(Noted(1))
            watch.refuse = lambda requests: OutcomeUnknown([])
            with pytest.raises(OutcomeUnknown):
                await notes.save()
            watch.refuse = lambda requests: None
            await store.append("notes-1", Noted(7))
            with pytest.raises(WrongVersion):
                await notes.save()
            assert await numbers(store, "notes-1") == [7]
            assert len(notes.log.pending) == 1

    run(main)


def test_retrying_settles_an_unknown_outcome_by_itself(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            await store.append("notes-1", Noted(1))
            attempts: list[int] = []

            def decide(notes: Notes) -> None:
                attempts.append(notes.log.version)
                watch.lose_answers = True
                notes.push(Noted(2))

            def answer_again(requests: Sequence[Request]) -> None:
                watch.lose_answers = watch.sizes == [1, 1]

            watch.refuse = answer_again
            notes = await store.retrying(Notes, "notes-1", decide)
            assert attempts == [1]
            assert notes.log.version == 2
            assert await numbers(store, "notes-1") == [1, 2]

    run(main)


# --- closing ------------------------------------------------------------------------------------


def test_close_waits_for_what_is_being_written(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, watch):
            first, tasks = await queued_behind(store, watch, [appending(store, "a", 1)])
            closing = asyncio.create_task(store.close())
            await turns()
            assert not closing.done()
            watch.before.open()
            await closing
            assert [len(await task) for task in (first, *tasks)] == [1, 1]
            with pytest.raises(StoreClosed):
                await store.append("a", Noted(2))
            await store.close()

    run(main)
