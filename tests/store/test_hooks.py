"""Hooks: an append stands, its hooks are told in order, and nobody waits for itself."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from everlog import (
    Appended,
    EventStore,
    HookFailure,
    Projector,
    Record,
    StoreClosed,
    to,
)
from everlog.errors import HandlerFailed, InvalidInput, MisusedStore
from everlog.store import hooks as hooks_module
from everlog.store.hooks import Hooks
from tests.store.watched import Gate, Noted, Notes, numbers, run, turns, watched


def in_memory(test: Callable[[EventStore], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            await test(store)

    run(main)


# --- what hooks are told ------------------------------------------------------------------------


def test_an_append_returns_after_its_hooks_have_run() -> None:
    async def main(store: EventStore) -> None:
        gate, ended = Gate(), list[str]()

        async def slow(appended: Appended) -> None:
            await gate.passed()
            ended.append("slow")

        def plain(appended: Appended) -> None:
            ended.append("plain")

        store.on_appended(slow)
        store.on_appended(plain)
        gate.close()
        task = asyncio.create_task(store.append("a", Noted(1)))
        await gate.reached.wait()
        await turns()
        assert not task.done()
        gate.open()
        await task
        assert sorted(ended) == ["plain", "slow"]

    in_memory(main)


def test_a_hook_is_told_of_records_that_can_be_read_already() -> None:
    async def main(store: EventStore) -> None:
        told: list[Appended] = []

        async def hook(appended: Appended) -> None:
            assert await numbers(store) == [1, 2]
            told.append(appended)

        store.on_appended(hook)
        records = await store.append("a", Noted(1), Noted(2), batch="import")
        [appended] = told
        assert appended.records == tuple(records)
        assert [record.position for record in appended.records] == [1, 2]
        assert appended.batch == "import"

    in_memory(main)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_hooks_start_in_commit_order_however_many_append_at_once(kind: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with watched(kind, tmp_path) as (store, _):
            started: list[int] = []

            async def hook(appended: Appended) -> None:
                started.extend(record.position for record in appended.records)

            store.on_appended(hook)
            await asyncio.gather(*(store.append(f"s{n % 5}", Noted(n)) for n in range(300)))
            assert started == list(range(1, 301))

    run(main)


def test_emit_false_and_retries_tell_nobody() -> None:
    async def main(store: EventStore) -> None:
        told: list[int] = []

        async def hook(appended: Appended) -> None:
            told.extend(record.data.number for record in appended.records)

        store.on_appended(hook)
        await store.append("a", Noted(1), ids=["one"], emit=False)
        assert told == []
        await store.append("a", Noted(2), ids=["two"])
        assert told == [2]
        await store.append("a", Noted(2), ids=["two"])
        await store.append("a", Noted(1), ids=["one"])
        await store.append_many([to("a", Noted(2), id="two")])
        assert told == [2]
        notes = store.new(Notes).push(Noted(3))
        await notes.save(emit=False)
        assert told == [2]
        await notes.push(Noted(4)).save()
        assert told == [2, 4]

    in_memory(main)


def test_an_import_tells_of_hydrated_records_and_only_of_those_that_are_new_here() -> None:
    async def main(store: EventStore) -> None:
        async with EventStore.open("memory:", events=[Noted]) as other:
            records = await other.append("a", Noted(1), Noted(2), Noted(3))
        told: list[tuple[int, bool]] = []

        async def hook(appended: Appended) -> None:
            told.extend((record.data.number, record.hydrated) for record in appended.records)

        store.on_appended(hook)
        await store.import_records(records[:1], emit=False)
        assert told == []
        await store.import_records(records)
        assert told == [(2, True), (3, True)]
        await store.import_records(records)
        assert len(told) == 2

    in_memory(main)


def test_a_refused_append_tells_nobody() -> None:
    async def main(store: EventStore) -> None:
        told: list[Appended] = []

        async def hook(appended: Appended) -> None:
            told.append(appended)

        store.on_appended(hook)
        results = await asyncio.gather(
            store.append("a", Noted(1), expect=4), store.append("a", Noted(2)),
            return_exceptions=True,
        )  # fmt: skip
        assert isinstance(results[0], Exception)
        assert [record.data.number for each in told for record in each.records] == [2]

    in_memory(main)


# --- failures -----------------------------------------------------------------------------------


def test_a_hook_that_fails_undoes_nothing_stops_no_other_and_is_reported() -> None:
    async def main(store: EventStore) -> None:
        told: list[str] = []
        failures: list[HookFailure] = []
        reporting = Gate()

        async def bad(appended: Appended) -> None:
            raise ZeroDivisionError("bad hook")

        def bad_in_thread(appended: Appended) -> None:
            raise KeyError("bad in a thread")

        async def good(appended: Appended) -> None:
            told.append("good")

        async def on_error(failure: HookFailure) -> None:
            await reporting.passed()
            failures.append(failure)

        store.on_appended(bad)
        store.on_appended(bad_in_thread)
        store.on_appended(good)
        store.on_error(on_error)
        reporting.close()
        task = asyncio.create_task(store.append("a", Noted(1)))
        await reporting.reached.wait()
        await turns()
        assert not task.done(), "error hooks are awaited, too"
        reporting.open()
        [record] = await task
        assert told == ["good"]
        assert sorted(type(f.error).__name__ for f in failures) == ["KeyError", "ZeroDivisionError"]
        assert all(failure.appended.records == (record,) for failure in failures)
        assert any("bad_in_thread" in failure.hook for failure in failures)

    in_memory(main)


def test_an_error_hook_that_fails_does_not_keep_the_others_from_being_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(store: EventStore) -> None:
        told: list[HookFailure] = []

        async def bad(appended: Appended) -> None:
            raise ZeroDivisionError

        def worse(failure: HookFailure) -> None:
            raise RuntimeError("the reporter is broken, too")

        store.on_appended(bad)
        store.on_error(worse)
        store.on_error(told.append)
        await store.append("a", Noted(1))
        assert len(told) == 1

    with caplog.at_level(logging.ERROR, logger="everlog"):
        in_memory(main)
    assert "error hook" in caplog.text


def test_without_an_error_hook_a_failure_is_logged_with_ids_and_without_data(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main(store: EventStore) -> None:
        async def bad(appended: Appended) -> None:
            raise ZeroDivisionError("bad hook")

        store.on_appended(bad)
        await store.append("a", Noted(987654321), ids=["event-1"])

    with caplog.at_level(logging.ERROR, logger="everlog"):
        in_memory(main)
    assert "event-1" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "987654321" not in caplog.text


def test_a_hook_that_waited_for_what_was_cancelled_has_failed_and_is_reported() -> None:
    async def main(store: EventStore) -> None:
        failures: list[HookFailure] = []

        async def waits_for_a_cancelled_task(appended: Appended) -> None:
            task = asyncio.create_task(asyncio.Event().wait())
            task.cancel()
            await task

        store.on_appended(waits_for_a_cancelled_task)
        store.on_error(failures.append)
        await store.append("a", Noted(1))
        [failure] = failures
        assert isinstance(failure.error.__cause__, asyncio.CancelledError)

    in_memory(main)


def test_a_plain_hook_that_raises_stopiteration_is_reported_and_hangs_nobody() -> None:
    async def main(store: EventStore) -> None:
        failures: list[HookFailure] = []

        def exhausted(appended: Appended) -> None:
            next(iter(()))

        store.on_appended(exhausted)
        store.on_error(failures.append)
        await store.append("a", Noted(1))
        [failure] = failures
        assert isinstance(failure.error.__cause__, StopIteration)

    in_memory(main)


def test_a_cancelled_append_does_not_end_its_hooks() -> None:
    async def main(store: EventStore) -> None:
        gate, ended = Gate(), list[int]()

        async def hook(appended: Appended) -> None:
            await gate.passed()
            ended.append(appended.records[0].data.number)

        store.on_appended(hook)
        gate.close()
        task = asyncio.create_task(store.append("a", Noted(1)))
        await gate.reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        gate.open()
        await store.drained()
        assert ended == [1]

    in_memory(main)


# --- where hooks run ----------------------------------------------------------------------------


def test_a_plain_hook_runs_in_a_thread_with_the_appenders_context_variables() -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")
    seen: list[tuple[str, bool]] = []

    def plain(appended: Appended) -> None:
        seen.append((user.get(), threading.current_thread() is threading.main_thread()))

    async def on_loop(appended: Appended) -> None:
        seen.append((user.get(), threading.current_thread() is threading.main_thread()))
        user.set("changed by the hook")

    class Hook:
        async def __call__(self, appended: Appended) -> None:
            seen.append((user.get(), threading.current_thread() is threading.main_thread()))

    async def main(store: EventStore) -> None:
        for hook in (plain, on_loop, Hook()):
            store.on_appended(hook)
        user.set("jane")
        await store.append("a", Noted(1))
        assert sorted(seen) == [("jane", False), ("jane", True), ("jane", True)]
        assert user.get() == "jane"

    in_memory(main)


def test_hooks_of_appends_that_were_committed_together_see_each_their_own_context() -> None:
    user: ContextVar[str] = ContextVar("user", default="nobody")
    seen: dict[int, str] = {}

    async def hook(appended: Appended) -> None:
        for record in appended.records:
            seen[record.data.number] = user.get()

    async def append(store: EventStore, number: int) -> None:
        user.set(f"user {number}")
        await store.append("a", Noted(number))

    async def main(store: EventStore) -> None:
        store.on_appended(hook)
        await asyncio.gather(*(append(store, number) for number in range(20)))
        assert seen == {number: f"user {number}" for number in range(20)}

    in_memory(main)


# --- appending inside a hook --------------------------------------------------------------------


async def appends_in_a_chain(store: EventStore, length: int) -> list[int]:
    """Each record makes a handler append the next; returns what was handled, in order."""
    projector, handled = Projector(), list[int]()

    @projector.once(Noted)
    async def follow(record: Record[Noted]) -> None:
        number = record.data.number
        if number < length:
            [after] = await store.append(record.stream, Noted(number + 1))
            assert after.version == record.version + 1
        handled.append(number)

    store.on_appended(projector.handle)
    return handled


def test_an_append_inside_a_handler_does_not_wait_for_itself_and_drained_waits_for_all() -> None:
    async def main(store: EventStore) -> None:
        handled = await appends_in_a_chain(store, 20)
        await store.append("a", Noted(1))
        await store.drained()
        assert handled == list(range(1, 21))
        assert await numbers(store) == list(range(1, 21))

    in_memory(main)


def test_a_hook_of_ones_own_that_pushes_by_hand_works_inside_handlers_too() -> None:
    async def main(store: EventStore) -> None:
        projector, handled, failures = Projector(), list[int](), list[HookFailure]()

        @projector.once(Noted)
        async def follow(record: Record[Noted]) -> None:
            handled.append(record.data.number)
            if record.data.number < 5:
                await store.append(record.stream, Noted(record.data.number + 1))

        async def hook(appended: Appended) -> None:
            for record in appended.records:
                await projector.push(record)

        store.on_appended(hook)
        store.on_error(failures.append)
        await store.append("a", Noted(1))
        await store.drained()
        assert not failures
        assert handled == [1, 2, 3, 4, 5]

    in_memory(main)


@pytest.mark.parametrize("call", ["hook", "def hook", "handler", "error hook"])
def test_drained_inside_a_hook_or_handler_raises_instead_of_waiting_for_itself(call: str) -> None:
    async def main(store: EventStore) -> None:
        raised: list[MisusedStore] = []
        loop = asyncio.get_running_loop()

        async def drain(_: object) -> None:
            with pytest.raises(MisusedStore, match="drained") as caught:
                await store.drained()
            raised.append(caught.value)

        async def bad(_: object) -> None:
            raise ZeroDivisionError

        def drain_from_thread(_: object) -> None:
            asyncio.run_coroutine_threadsafe(drain(_), loop).result(timeout=10)

        match call:
            case "hook":
                store.on_appended(drain)
            case "def hook":
                store.on_appended(drain_from_thread)
            case "handler":
                projector = Projector()
                projector.all(Noted)(drain)
                store.on_appended(projector.handle)
            case _:
                store.on_appended(bad)
                store.on_error(drain)
        await store.append("a", Noted(1))
        assert len(raised) == 1

    in_memory(main)


def test_drained_waits_for_appends_and_hooks_of_others() -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            gate, ended = Gate(), list[int]()

            async def hook(appended: Appended) -> None:
                await gate.passed()
                ended.append(appended.records[0].data.number)

            store.on_appended(hook)
            gate.close()
            tasks = [asyncio.create_task(store.append("a", Noted(n))) for n in range(3)]
            await turns(1)
            draining = asyncio.create_task(store.drained())
            await gate.reached.wait()
            await turns()
            assert not draining.done()
            gate.open()
            await draining
            assert sorted(ended) == [0, 1, 2]
            await asyncio.gather(*tasks)

    run(main)


# --- closing ------------------------------------------------------------------------------------


def test_close_waits_for_hooks_and_for_what_their_handlers_append() -> None:
    async def main() -> None:
        failures: list[HookFailure] = []
        async with EventStore.open("memory:", events=[Noted]) as store:
            handled = await appends_in_a_chain(store, 20)
            store.on_error(failures.append)
            await store.append("a", Noted(1))
        assert handled == list(range(1, 21))
        assert not failures

    run(main)


def test_a_close_that_waited_once_only_loses_the_end_of_a_chain_and_that_is_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def once(self: EventStore) -> None:
        await self._hooks.ended()  # pyright: ignore[reportPrivateUsage]

    monkeypatch.setattr(EventStore, "_idle", once)
    with pytest.raises(AssertionError):
        test_close_waits_for_hooks_and_for_what_their_handlers_append()


def test_close_cancels_the_hooks_that_outlast_its_timeout(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        ended: list[str] = []
        store = await EventStore.open("memory:", events=[Noted])

        async def for_ever(appended: Appended) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cancelled")

        store.on_appended(for_ever)
        task = asyncio.create_task(store.append("a", Noted(1)))
        await turns()
        await store.close(timeout_s=0)
        assert ended == ["cancelled"]
        assert len(await task) == 1, "the append stands"
        await store.close()  # again is nothing
        with pytest.raises(StoreClosed):
            await store.drained()

    with caplog.at_level(logging.WARNING, logger="everlog"):
        run(main)
    assert "cancelled" in caplog.text


def test_closing_twice_at_once_closes_once_and_both_return() -> None:
    async def main() -> None:
        store = await EventStore.open("memory:", events=[Noted])
        gate = Gate()

        async def hook(appended: Appended) -> None:
            await gate.passed()

        store.on_appended(hook)
        gate.close()
        task = asyncio.create_task(store.append("a", Noted(1)))
        await gate.reached.wait()
        closing = [asyncio.create_task(store.close()) for _ in range(2)]
        await turns()
        assert not any(close.done() for close in closing)
        gate.open()
        await asyncio.gather(task, *closing)

    run(main)


def test_close_inside_a_hook_does_not_wait_for_that_hook() -> None:
    async def main() -> None:
        store = await EventStore.open("memory:", events=[Noted])
        closed: list[bool] = []

        async def hook(appended: Appended) -> None:
            await store.close()
            closed.append(True)

        store.on_appended(hook)
        await store.append("a", Noted(1))
        assert closed == [True]

    run(main)


@pytest.mark.parametrize("how", ["handle", "push", "batch"])
def test_close_cancels_the_handlers_that_outlast_its_timeout(how: str) -> None:
    async def main() -> None:
        projector, gate, ended = Projector(), Gate(), list[str]()
        store = await EventStore.open("memory:", events=[Noted])

        async def hold(record: object) -> None:
            try:
                await gate.passed()
                ended.append("handled")
            finally:
                await turns()
                ended.append("ended")

        projector.all(Noted)(hold)
        projector.batch("bulk")(hold)

        async def hook(appended: Appended) -> None:
            for record in appended.records:
                await projector.push(record)

        store.on_appended(hook if how == "push" else projector.handle)
        gate.close()
        batch = "bulk" if how == "batch" else None
        many = [to("a", Noted(1)), to("b", Noted(2))]
        task = asyncio.create_task(store.append_many(many, batch=batch))
        behind = asyncio.create_task(store.append("a", Noted(3)))
        await gate.reached.wait()
        await turns()
        await store.close(timeout_s=0)
        begun = len(ended)
        assert set(ended) == {"ended"}
        gate.open()
        await asyncio.gather(task, behind)
        await turns()
        assert len(ended) == begun, "nothing begins or goes on after the store was closed"

    run(main)


@pytest.mark.parametrize("where", ["hook", "handler"])
def test_close_does_not_wait_for_ever_for_what_ignores_its_cancellation(
    where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks_module, "UNWIND_S", 0.01)

    async def main() -> None:
        projector, gate = Projector(), Gate()
        store = await EventStore.open("memory:", events=[Noted])

        async def stubborn(_: object) -> None:
            for _ in range(2):
                with suppress(asyncio.CancelledError):
                    await gate.passed()

        projector.all(Noted)(stubborn)
        store.on_appended(stubborn if where == "hook" else projector.handle)
        gate.close()
        task = asyncio.create_task(store.append("a", Noted(1)))
        await gate.reached.wait()
        async with asyncio.timeout(10):
            await store.close(timeout_s=0)
        assert not task.done()
        gate.open()
        await task

    with caplog.at_level(logging.ERROR, logger="everlog"):
        run(main)
    assert "1 hook" in caplog.text
    assert "left" in caplog.text


@pytest.mark.parametrize("late", [False, True], ids=["awaits after it", "returns at once"])
def test_a_hook_that_cancels_its_own_task_has_failed_and_is_reported(late: bool) -> None:
    async def main(store: EventStore) -> None:
        failures, told = list[HookFailure](), list[int]()

        async def suicidal(appended: Appended) -> None:
            told.append(appended.records[0].position)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            if not late:
                await asyncio.sleep(0)

        store.on_appended(suicidal)
        store.on_error(failures.append)
        await store.append("a", Noted(1))
        await store.append("a", Noted(2))
        assert told == [1, 2]
        assert len(failures) == 2

    in_memory(main)


def test_what_cannot_be_called_is_refused_as_a_hook() -> None:
    async def main(store: EventStore) -> None:
        wrongs: list[Any] = [None, "print", Projector()]
        for wrong in wrongs:
            for add in (store.on_appended, store.on_error):
                with pytest.raises(InvalidInput, match="cannot be called"):
                    add(wrong)
        await store.append("a", Noted(1))

    in_memory(main)


# --- tasks that outlive the handler that started them --------------------------------------------


@pytest.mark.parametrize("where", ["hook", "handler", "error hook"])
def test_a_task_started_in_a_handler_waits_for_hooks_once_that_handler_has_ended(
    where: str,
) -> None:
    async def main(store: EventStore) -> None:
        gate, slow = Gate(), Gate()
        tasks: list[asyncio.Task[None]] = []
        waited: list[bool] = []

        async def behind() -> None:
            await gate.passed()
            slow.close()
            append = asyncio.create_task(store.append("a", Noted(2)))
            await slow.reached.wait()
            await turns()
            waited.append(not append.done())
            slow.open()
            await append
            await store.drained()

        async def start(_: object) -> None:
            if not tasks:
                tasks.append(asyncio.create_task(behind()))
                await turns()

        async def hook(appended: Appended) -> None:
            await slow.passed()
            if where == "hook":
                await start(appended)
            if where == "error hook" and not tasks:
                raise ZeroDivisionError

        projector = Projector()
        if where == "handler":
            projector.all(Noted)(start)
        store.on_appended(projector.handle)
        store.on_error(start)
        store.on_appended(hook)
        gate.close()
        await store.append("a", Noted(1))
        gate.open()
        await asyncio.gather(*tasks)
        assert waited == [True]

    in_memory(main)


def test_a_handler_may_wait_for_a_task_of_its_own_that_appends() -> None:
    async def main(store: EventStore) -> None:
        projector, handled = Projector(), list[int]()

        @projector.once(Noted)
        async def follow(record: Record[Noted]) -> None:
            if record.data.number < 5:
                append = store.append(record.stream, Noted(record.data.number + 1))
                await asyncio.create_task(append)
            handled.append(record.data.number)

        store.on_appended(projector.handle)
        await store.append("a", Noted(1))
        await store.drained()
        assert handled == [1, 2, 3, 4, 5]

    in_memory(main)


# --- a fault, planted ---------------------------------------------------------------------------


def test_hooks_started_as_they_like_are_seen_to_be_out_of_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    genuine = Hooks.start
    held: list[Any] = []

    def late(self: Hooks, appended: Appended, context: Any) -> list[asyncio.Task[None]]:
        if appended.records[0].position == 3:  # told only behind the next one
            held.append((appended, context))
            return []
        started = genuine(self, appended, context)
        if held:
            started += genuine(self, *held.pop())
        return started

    monkeypatch.setattr(Hooks, "start", late)
    with pytest.raises(AssertionError):
        test_hooks_start_in_commit_order_however_many_append_at_once("memory", tmp_path)


def test_a_failure_in_a_projector_reaches_on_error_with_the_handlers_name_and_its_cause() -> None:
    async def main(store: EventStore) -> None:
        projector, failures = Projector(), list[HookFailure]()

        @projector.on(Noted)
        async def broken(record: Record[Noted]) -> None:
            raise ZeroDivisionError("in a handler")

        store.on_appended(projector.handle)
        store.on_error(failures.append)
        [record] = await store.append("a", Noted(1))
        [failure] = failures
        assert isinstance(failure.error, HandlerFailed)
        assert isinstance(failure.error.__cause__, ZeroDivisionError)
        assert "broken" in failure.error.handler
        assert failure.error.record_ids == (record.id,)

    in_memory(main)
