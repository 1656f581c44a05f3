"""Many writers, one order: what a writer has read, or has assumed, is what it writes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from everlog import NEW, EventStore, WrongVersion, to
from everlog.adapters.postgres.ledger import PostgresLedger
from everlog.core.relation import Relate, Related
from everlog.errors import StorageFailed
from everlog.ports.ledger import Outcome, Request
from everlog.store.preparing import To
from tests.adapters.schema import Schema, eventually
from tests.store.watched import Noted, run


async def settled(store: EventStore) -> None:
    """Appends until the store takes itself for the only writer, and writes without a look."""
    for _ in range(3):
        await store.append("warm", Noted())


async def sound(store: EventStore) -> None:
    """Asserts that hashes, chain, indexes and marks agree."""
    verification = await store.verify()
    assert verification.ok, verification.problems


@pytest.mark.parametrize("guesses", [False, True], ids=["by a look", "by a guess"])
def test_nobody_else_gets_in_between_what_a_writer_reads_and_what_it_writes(
    schema: Schema, guesses: bool
) -> None:
    async def main() -> None:
        async with schema.store() as store, schema.store() as other:
            await store.append("a", Noted(1))
            if guesses:
                await settled(other)
            with schema.gated() as open_gate:
                first = asyncio.create_task(store.append_many([to("a", Noted(2), relations=["r"])]))
                await eventually(lambda: schema.waiting() == 1, "the first is about to write")
                second = asyncio.create_task(other.append("b", Noted(3)))
                await eventually(
                    lambda: schema.waiting() == 2 or second.done(), "the second waits or is done"
                )
                assert not second.done()
                open_gate()
                [one], [two] = await first, await second
            assert (one.version, two.version) == (2, 1)
            assert two.position == one.position + 1
            await sound(store)

    run(main)


sizes = pytest.mark.parametrize("size", [1, 3], ids=["one event", "some events"])


def events(stream: str, size: int, **options: Any) -> list[To]:
    """Returns one event for a stream, or one and others for streams that are new."""
    return [
        to(stream, Noted(1), **options),
        *(to(f"{stream} {number}", Noted(number)) for number in range(2, size + 1)),
    ]


NEIGHBOURS = ("a", "aa", "b", "\u00e9")


@sizes
@pytest.mark.parametrize("guesses", [False, True], ids=["by a look", "by a guess"])
def test_a_stream_begins_at_one_whatever_its_neighbours_are_called(
    schema: Schema, size: int, guesses: bool
) -> None:
    async def main() -> None:
        async with schema.store() as other:
            for name in NEIGHBOURS:
                await other.append(name, Noted(1), Noted(2))
        for name in ("a ", "a!", "aaa", "A", "c", "\u00e9a", "\U0001f600"):
            async with schema.store() as store:
                if guesses:
                    await settled(store)
                records = await store.append_many(events(name, size))
                assert {record.version for record in records} == {1}
        async with schema.store() as store:
            for name in NEIGHBOURS:
                [record, *_] = await store.append_many(events(name, size))
                assert record.version == 3

    run(main)


# --- an append that is placed by a guess ---------------------------------------------------------


@sizes
def test_what_others_have_written_since_is_not_written_over(schema: Schema, size: int) -> None:
    async def main() -> None:
        async with schema.store() as store, schema.store() as other:
            await settled(store)
            [theirs] = await other.append("a", Noted(1))
            mine = await store.append_many(events("a", size))
            assert (theirs.position, mine[0].position) == (4, 5)
            assert mine[0].version == 2
            await sound(store)

    run(main)


@sizes
def test_a_log_that_has_lost_its_tail_is_not_gone_on_with_from_memory(
    schema: Schema, size: int
) -> None:
    async def main() -> None:
        async with schema.store() as store, schema.store() as other:
            await settled(store)
            schema.save()
            await store.append("a", Noted(1))
            schema.lose_tail()
            [theirs] = await other.append("b", Noted(1))
            mine = await store.append_many(events("a", size))
            assert (theirs.position, mine[0].position) == (4, 5)
            assert mine[0].version == 1
            await sound(store)

    run(main)


@sizes
def test_a_log_that_has_got_as_far_in_another_history_is_looked_at_anew(
    schema: Schema, size: int
) -> None:
    async def main() -> None:
        async with schema.store() as store, schema.store() as other:
            await settled(store)
            schema.save()
            [mine] = await store.append("a", Noted(1))
            schema.lose_tail()
            [theirs] = await other.append("b", Noted(1))
            assert mine.position == theirs.position
            await store.append("c", Noted(1))
            [again, *_] = await store.append_many(events("a", size))
            assert again.version == 1
            await sound(store)

    run(main)


@sizes
def test_a_stream_that_somebody_else_began_goes_on(schema: Schema, size: int) -> None:
    async def main() -> None:
        async with schema.store() as other:
            await other.append("a", Noted(1), Noted(2))
        async with schema.store() as store:
            await settled(store)
            [mine, *_] = await store.append_many(events("a", size))
            assert mine.version == 3
            await settled(store)
            with pytest.raises(WrongVersion):
                await store.append_many(events("a", size, expect=NEW))
            await sound(store)

    run(main)


@sizes
def test_a_stream_that_grew_elsewhere_is_not_remembered_as_it_was(
    schema: Schema, size: int
) -> None:
    async def main() -> None:
        async with schema.store() as store, schema.store() as other:
            await settled(store)
            await store.append("a", Noted(1))
            await other.append("a", Noted(2))
            await settled(store)  # with what the other wrote, but of another stream
            [mine, *_] = await store.append_many(events("a", size))
            assert mine.version == 3
            await sound(store)

    run(main)


@sizes
def test_a_retry_is_known_also_where_nobody_looks(schema: Schema, size: int) -> None:
    async def main() -> None:
        async with schema.store() as store:
            await settled(store)
            items = events("a", size)
            items = [
                to(item.stream, item.event, id=f"id {number}") for number, item in enumerate(items)
            ]
            first = await store.append_many(items)
            await settled(store)
            again = await store.append_many(items)
            assert [record.stored for record in again] == [record.stored for record in first]
            assert (await store.info()).position == 6 + size

    run(main)


def test_where_transactions_are_read_only_by_default_appends_go_on(schema: Schema) -> None:
    async def main() -> None:
        options = "-cdefault_transaction_read_only=on"
        async with schema.store(options=options, timeout_s=1) as store:
            await settled(store)
            await store.append("a", Noted(1))

    run(main)


# --- a batch that the database refuses ------------------------------------------------------------


def test_of_a_batch_that_the_database_refuses_the_guilty_alone_fails_and_all_others_are_stored(
    schema: Schema,
) -> None:
    async def main() -> None:
        async with schema.store() as store:
            schema.ask(REFUSE)
            ledger = await Watched.open(schema.database, schema=schema.name)
            assert isinstance(ledger, Watched)
            sizes = ledger.sizes = []
            watched = schema.over(ledger)
            streams = [f"stream {number}" for number in range(20)]
            streams[7] = streams[13] = "guilty"
            asked = [watched.append(name, Noted(), ids=[f"{n}"]) for n, name in enumerate(streams)]
            answers = await asyncio.gather(*asked, return_exceptions=True)
            await watched.close()
            for name, answer in zip(streams, answers, strict=True):
                assert isinstance(answer, StorageFailed if name == "guilty" else list), answer
            assert sizes[0] == 1, "the first went alone"
            assert max(sizes) > 1, "others together"
            assert sum(sizes) > len(streams), "and some of those again, each by itself"
            assert sizes.count(1) > max(sizes), "namely all that were refused"
            stored = await store.read().to_list()
            assert [record.id for record in stored] == [
                str(number) for number, name in enumerate(streams) if name != "guilty"
            ]
            assert [record.position for record in stored] == list(range(1, 19))
            await sound(store)

    run(main)


@pytest.mark.parametrize("written", [0, 1, 3], ids=["nothing", "an event", "and settled"])
def test_a_ledger_that_was_replaced_under_an_open_store_takes_nothing_of_it(
    schema: Schema, written: int
) -> None:
    async def main() -> None:
        async with schema.store() as store:
            for number in range(written):
                await store.append("a", Noted(number))
            for _ in range(3):  # refused, so that the store knows the head and nothing else
                with pytest.raises(WrongVersion):
                    await store.append("a", Noted(1), expect=99)
            schema.ask("DROP SCHEMA {} CASCADE")
            async with schema.store() as other:
                for append in (
                    store.append("a", Noted(1)),
                    store.append_many(events("a", 3)),
                    store.relations.add("r", "a"),
                ):
                    with pytest.raises(StorageFailed, match=r"another ledger.*open the store"):
                        await append
                assert (await other.info()).position == 0
                await sound(other)

    run(main)


# --- the end -------------------------------------------------------------------------------------


def test_a_ledger_that_is_closed_right_behind_a_commit_leaves_no_connection(schema: Schema) -> None:
    async def main() -> None:
        ledger = await schema.ledger()
        committed = ledger.commit([Relate(add=(("r", "s"),))])
        await ledger.close()
        assert await committed == [Related(added=1, removed=0)]
        await eventually(lambda: schema.connections() == 0, "all its connections are gone")

    run(main)


class Watched(PostgresLedger):
    """A ledger that remembers how many requests were in each commit."""

    sizes: list[int]

    def commit(self, requests: Sequence[Request]) -> Awaitable[Sequence[Outcome]]:
        self.sizes.append(len(requests))
        return super().commit(requests)


REFUSE = """
CREATE FUNCTION {}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'not this one' USING ERRCODE = 'check_violation';
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON {}.records FOR EACH ROW
WHEN (NEW.stream = 'guilty') EXECUTE FUNCTION {}.refuse()
"""
