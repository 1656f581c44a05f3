"""Who caused what: carried by itself through hooks, handlers, threads and chains of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any

import pytest

from everlog import Appended, EventStore, Projector, Record, WrongVersion, caused_by
from everlog.errors import InvalidName
from everlog.subscriptions import causation
from tests.store.watched import Noted, Notes, run


def in_memory(test: Callable[[EventStore], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Noted]) as store:
            await test(store)

    run(main)


async def all_of(store: EventStore) -> list[Record[Any]]:
    return [record async for record in store.read()]


def test_an_event_that_nothing_caused_starts_a_correlation_of_its_own() -> None:
    async def main(store: EventStore) -> None:
        for record in await store.append("a", Noted(1), Noted(2)):
            assert record.correlation == record.id
            assert record.causation is None

    in_memory(main)


def test_a_request_is_the_correlation_and_a_record_the_cause_and_blocks_nest() -> None:
    async def main(store: EventStore) -> None:
        with caused_by("request-1"):
            [first] = await store.append("a", Noted(1))
            with caused_by(first):
                [second] = await store.append("a", Noted(2))
                with suppress(WrongVersion), caused_by("request-2"):
                    await store.append("a", Noted(3))
                    await store.append("a", Noted(3), expect=9)
                [fourth] = await store.append("a", Noted(4))
            [fifth] = await store.append("a", Noted(5))
        [sixth] = await store.append("a", Noted(6))
        assert [(each.correlation, each.causation) for each in (first, second, fourth, fifth)] == [
            ("request-1", None), ("request-1", first.id), ("request-1", first.id),
            ("request-1", None),
        ]  # fmt: skip
        [third] = [record async for record in store.read() if record.data == Noted(3)]
        assert (third.correlation, third.causation) == ("request-2", None)
        assert (sixth.correlation, sixth.causation) == (sixth.id, None)

    in_memory(main)


def test_a_correlation_that_cannot_be_stored_is_refused_at_once() -> None:
    for wrong in ("", "a\x00b", "x" * 256):
        with pytest.raises(InvalidName), caused_by(wrong):
            pass


async def chain_of_three(store: EventStore) -> None:
    """Events caused by handlers name the event handled, and share what started it all."""
    projector = Projector()

    @projector.once(Noted)
    async def follow(record: Record[Noted]) -> None:
        if record.data.number < 3:
            await store.append(f"s{record.data.number}", Noted(record.data.number + 1))

    store.on_appended(projector.handle)
    with caused_by("request-1"):
        await store.append("a", Noted(1))
    await store.drained()
    first, second, third = await all_of(store)
    assert [each.correlation for each in (first, second, third)] == ["request-1"] * 3
    assert [each.causation for each in (first, second, third)] == [None, first.id, second.id]


def test_a_chain_of_handlers_keeps_the_correlation_and_names_each_cause() -> None:
    in_memory(chain_of_three)


def test_without_the_context_variable_the_chain_is_seen_to_be_broken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "everlog.store.preparing.current_cause", lambda: causation.Cause(None, None)
    )
    with pytest.raises(AssertionError):
        in_memory(chain_of_three)


def test_a_plain_handler_in_a_thread_carries_its_cause_back_to_the_loop() -> None:
    async def main(store: EventStore) -> None:
        projector, loop = Projector(), asyncio.get_running_loop()

        @projector.once(Noted)
        def follow(record: Record[Noted]) -> None:
            if record.data.number == 1:
                appending = store.append("b", Noted(2))
                asyncio.run_coroutine_threadsafe(appending, loop).result(timeout=10)

        store.on_appended(projector.handle)
        [first] = await store.append("a", Noted(1))
        await store.drained()
        second = (await all_of(store))[1]
        assert (second.correlation, second.causation) == (first.id, first.id)

    in_memory(main)


def test_a_hook_told_of_one_record_is_caused_by_it_and_one_told_of_several_by_their_cause() -> None:
    async def main(store: EventStore) -> None:
        async def hook(appended: Appended) -> None:
            if appended.records[0].stream != "audit":
                await store.append("audit", Noted(len(appended.records)))

        store.on_appended(hook)
        with caused_by("request-1"):
            [single] = await store.append("a", Noted(1))
            await store.append("a", Noted(2), Noted(3))
        await store.drained()
        audit = [record async for record in store.read("audit")]
        assert [(each.correlation, each.causation) for each in audit] == [
            ("request-1", single.id),
            ("request-1", None),
        ]

    in_memory(main)


def test_in_a_batch_of_records_each_single_handler_names_its_own_record() -> None:
    async def main(store: EventStore) -> None:
        projector = Projector()

        @projector.once(Noted)
        async def follow(record: Record[Noted]) -> None:
            if record.stream == "a":
                await store.append("b", Noted(record.data.number * 10))

        store.on_appended(projector.handle)
        records = await store.append("a", Noted(1), Noted(2), Noted(3))
        await store.drained()
        causes = {r.data.number: r.causation async for r in store.read("b")}
        assert causes == {record.data.number * 10: record.id for record in records}

    in_memory(main)


def test_a_batch_handler_and_an_aggregate_inside_a_handler_carry_on_too() -> None:
    async def main(store: EventStore) -> None:
        projector = Projector()

        @projector.batch("import")
        async def bulk(records: Sequence[Record[Any]]) -> None:
            await store.append("bulk", Noted(len(records)))

        @projector.once(Noted)
        async def follow(record: Record[Noted]) -> None:
            if record.stream == "a":
                await store.new(Notes, id="notes-1").push(Noted(9)).save()

        store.on_appended(projector.handle)
        [only] = await store.append("x", Noted(1), batch="import")
        [first] = await store.append("a", Noted(1))
        await store.drained()
        [bulked] = [record async for record in store.read("bulk")]
        [pushed] = [record async for record in store.read("notes-1")]
        assert (bulked.correlation, bulked.causation) == (only.id, only.id)
        assert (pushed.correlation, pushed.causation) == (first.id, first.id)

    in_memory(main)


def test_handlers_side_by_side_do_not_mix_up_their_causes() -> None:
    async def main(store: EventStore) -> None:
        projector = Projector()
        barrier = asyncio.Barrier(10)

        @projector.once(Noted)
        async def follow(record: Record[Noted]) -> None:
            if record.stream.startswith("from"):
                await barrier.wait()  # all ten are inside at once
                await store.append("to", Noted(record.data.number))

        store.on_appended(projector.handle)
        records = await asyncio.gather(*(store.append(f"from{n}", Noted(n)) for n in range(10)))
        await store.drained()
        causes = {r.data.number: r.causation async for r in store.read("to")}
        assert causes == {record.data.number: record.id for [record] in records}

    in_memory(main)
