"""A rebuild: beside the live version, swapped in one transaction, and nothing missed or twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from everlog import EventStore, Projector, Record, Tx, to
from everlog.errors import InvalidInput, InvalidName, LeaseLost, NotFound, OtherVersion
from everlog.ports.checkpoints import Checkpoints
from everlog.subscriptions.rebuild import Rebuild
from tests.store.watched import Noted, run
from tests.subscriptions.durable.places import Place
from tests.subscriptions.durable.test_running import Broken, many, note, until


def filling(place: Place, table: str, slow_s: float = 0.0) -> Projector:
    """Returns a projector that fills a table in which each record may stand only once."""
    projector = Projector()

    @projector.all(Noted)
    async def write(record: Record[Noted], tx: Tx) -> None:
        if slow_s:
            await asyncio.sleep(slow_s)
        statement = f"INSERT INTO {table} (position, stream, number) VALUES (?, ?, ?)"
        values = (record.position, record.stream, record.data.number)
        await tx.execute(place.sql(statement), values)

    return projector


async def checkpoints_of(store: EventStore) -> Checkpoints:
    return await store.subscriptions._opened()  # pyright: ignore[reportPrivateUsage]


async def make_tables(store: EventStore, *names: str) -> None:
    """Makes tables of read models, as a program does when it is deployed."""
    checkpoints = await checkpoints_of(store)
    async with checkpoints.transaction() as transaction:
        for name in names:
            await transaction.tx.execute(
                f"CREATE TABLE {name} (position bigint PRIMARY KEY, stream text, number bigint)"
            )


async def swap(tx: Tx) -> None:
    await tx.execute("ALTER TABLE view RENAME TO view_1")
    await tx.execute("ALTER TABLE view_2 RENAME TO view")


async def swap_back(tx: Tx) -> None:
    await tx.execute("ALTER TABLE view RENAME TO view_2")
    await tx.execute("ALTER TABLE view_1 RENAME TO view")


async def in_log(store: EventStore) -> list[tuple[int, str, int]]:
    records = await store.read(types=[Noted]).to_list()
    return [(record.position, record.stream, record.data.number) for record in records]


def in_table(place: Place, name: str = "view") -> list[tuple[int, str, int]]:
    return place.ask(f"SELECT position, stream, number FROM {name} ORDER BY position")


async def versions(store: EventStore) -> dict[str, int]:
    return {each.name: each.version for each in await store.subscriptions.status()}


@asynccontextmanager
async def appending(store: EventStore) -> AsyncGenerator[None]:
    """Appends all the while, at full speed."""

    async def append() -> None:
        number = 0
        while not over.is_set():
            await store.append_many([to(f"s-{n % 7}", Noted(number + n)) for n in range(20)])
            number += 20
            await asyncio.sleep(0)

    # Not called off: an append that was may be stored when all is compared.
    over = asyncio.Event()
    task = asyncio.create_task(append())
    try:
        yield
    finally:
        over.set()
        await task


@pytest.mark.parametrize("slices", [1, 3])
def test_a_new_version_takes_the_place_of_the_live_one_while_both_run_and_all_append(
    place: Place, slices: int
) -> None:
    async def main() -> None:
        async with place.store() as store:
            await make_tables(store, "view", "view_2")
            await many(store, 600, 7)
            live = store.subscription("view", filling(place, "view"), slices=slices)
            await live.__aenter__()
            await live.caught_up()
            async with appending(store):
                async with store.rebuild(
                    "view", filling(place, "view_2"), version=2, swap=swap
                ) as rebuild:
                    shown = [await rebuild.progress()]
                    while shown[-1].fraction < 0.9:
                        await asyncio.sleep(0.01)
                        shown.append(await rebuild.progress())
                    before = await live.position()
                    await rebuild.swap()
                    assert rebuild.is_swapped
                    assert len(in_table(place)) >= before, "nobody has seen time go back"
                    shown.append(await rebuild.progress())
                positions = [each.position for each in shown]
                assert positions == sorted(positions)
                assert all(0.0 <= each.fraction <= 1.0 for each in shown)
                with pytest.raises(OtherVersion, match=r"version 2 .*view.* not 1"):
                    async with asyncio.timeout(10):
                        await live.wait()
                assert await versions(store) == {"view": 2, "view@1": 1}
                new = store.subscription("view", filling(place, "view"), version=2)
                async with new:
                    await asyncio.sleep(0.1)
            async with store.subscription("view", filling(place, "view"), version=2) as new:
                await new.caught_up()
            assert in_table(place) == await in_log(store)
            old = in_table(place, "view_1")
            assert old == (await in_log(store))[: len(old)]
            with pytest.raises(OtherVersion):
                async with store.subscription("view", filling(place, "view_1")):
                    pass

    run(main)


def test_the_way_back_goes_on_from_where_the_old_version_was_left(place: Place) -> None:
    async def main() -> None:
        handled: list[int] = []
        async with place.store() as store:
            await make_tables(store, "view", "view_2")
            await many(store, 50, 3)
            async with store.subscription("view", filling(place, "view")) as live:
                await live.caught_up()
            async with store.rebuild(
                "view", filling(place, "view_2"), version=2, swap=swap
            ) as rebuild:
                await rebuild.swap()
            async with store.subscription("view", filling(place, "view"), version=2) as live:
                await note(store, 1, 2)
                await live.caught_up()
            old = filling(place, "view_1")
            old.all(Noted)(lambda record: handled.append(record.position))
            async with store.rebuild("view", old, version=1, swap=swap_back) as rebuild:
                await rebuild.swap()
            assert handled == [51, 52]
            assert await versions(store) == {"view": 1, "view@2": 2}
            async with store.subscription("view", filling(place, "view")) as live:
                await note(store, 3)
                await live.caught_up()
            assert in_table(place) == await in_log(store)
            assert len(in_table(place, "view_2")) == 52

    run(main)


@pytest.mark.usefixtures("attentive")
@pytest.mark.parametrize("way", ["at once", "by the last statement", "in a thread", "an object"])
def test_a_swap_that_raises_changes_nothing_and_can_be_done_again(place: Place, way: str) -> None:
    async def main() -> None:
        broken = True

        async def at_once(tx: Tx) -> None:
            await swap(tx)
            if broken:
                raise Broken("not yet")

        async def by_the_last_statement(tx: Tx) -> None:
            await swap(tx)
            if broken:
                await tx.execute("ALTER TABLE missing RENAME TO found")

        def in_a_thread(tx: Any) -> None:
            tx.execute("ALTER TABLE view RENAME TO view_1")
            tx.execute("ALTER TABLE view_2 RENAME TO view")
            if broken:
                raise Broken("not yet")

        class Swap:
            async def __call__(self, tx: Tx) -> None:
                await at_once(tx)

        ways: dict[str, Callable[[Any], Any]] = {
            "at once": at_once,
            "by the last statement": by_the_last_statement,
            "in a thread": in_a_thread,
            "an object": Swap(),
        }
        async with place.store() as store:
            await make_tables(store, "view", "view_2")
            await many(store, 30, 3)
            async with store.subscription("view", filling(place, "view"), lease_s=3) as live:
                await live.caught_up()
                async with store.rebuild(
                    "view", filling(place, "view_2"), version=2, swap=ways[way]
                ) as rebuild:
                    with pytest.raises(Exception, match=r"not yet|missing"):
                        await rebuild.swap()
                    assert not rebuild.is_swapped
                    assert await versions(store) == {"view": 1, "view@2": 2}
                    await note(store, 1, 2)  # both go on
                    await live.caught_up()
                    await rebuild.caught_up(timeout_s=10)
                    assert in_table(place) == in_table(place, "view_2") == await in_log(store)
                    broken = False
                    await rebuild.swap()
                    await rebuild.swap()  # does nothing
                    assert await versions(store) == {"view": 2, "view@1": 1}
                    with pytest.raises(OtherVersion):
                        await live.wait()
                    assert in_table(place) == in_table(place, "view_1") == await in_log(store)

    run(main)


def test_a_rebuild_goes_on_where_it_was_stopped(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            await make_tables(store, "view", "view_2")
            await many(store, 3_000, 3)
            async with store.subscription("view", filling(place, "view")) as live:
                await live.caught_up()
            projector = filling(place, "view_2")
            async with store.rebuild("view", projector, version=2, swap=swap) as rebuild:
                async with asyncio.timeout(10):
                    while (await rebuild.progress()).position < 500:  # noqa: ASYNC110 - it is asked
                        await asyncio.sleep(0.005)
            done = len(in_table(place, "view_2"))
            assert 500 <= done < 3_000
            async with store.rebuild("view", projector, version=2, swap=swap) as rebuild:
                assert (await rebuild.progress()).position >= done
                await rebuild.swap()
            assert in_table(place) == await in_log(store)

    run(main)


def test_a_rebuild_never_runs_a_once(place: Place) -> None:
    async def main() -> None:
        mails: list[int] = []
        projector = filling(place, "view_2")

        @projector.once(Noted, name="mail", idempotent=True)
        async def mail(record: Record[Noted]) -> None:
            mails.append(record.position)

        async with place.store() as store:
            await make_tables(store, "view", "view_2")
            await many(store, 20, 3)
            async with store.subscription("view", filling(place, "view")) as live:
                await live.caught_up()
            async with store.rebuild("view", projector, version=2, swap=swap) as rebuild:
                await note(store, 1)
                await rebuild.caught_up()
                await note(store, 2)
                await rebuild.swap()
            assert mails == []
            assert in_table(place) == await in_log(store)

    run(main)


def test_what_lies_between_the_two_checkpoints_of_a_swap_is_owed_once(place: Place) -> None:
    async def main() -> None:
        mails: list[int] = []

        def mailing(table: str) -> Projector:
            projector = filling(place, table)

            @projector.once(Noted, name="mail", idempotent=True)
            async def mail(record: Record[Noted]) -> None:
                mails.append(record.position)

            return projector

        async with place.store() as store:
            await make_tables(store, "view", "view_2")
            async with store.subscription("view", mailing("view"), slices=3) as live:
                await many(store, 20, 3)
                await live.caught_up()
            await many(store, 15, 3)  # nobody of the live version is there
            async with store.rebuild("view", mailing("view_2"), version=2, swap=swap) as rebuild:
                await rebuild.caught_up()
                assert max(mails, default=0) <= 20
                await rebuild.swap()
            async with store.subscription("view", mailing("view"), version=2) as live:
                await note(store, 1)
                await live.caught_up()
                while await store.subscriptions.effects("view", status="pending"):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert sorted(mails) == list(range(1, 37))

    run(main)


def test_records_that_were_set_aside_belong_to_their_version(place: Place) -> None:
    async def main() -> None:
        broken = True

        def failing(table: str, number: int) -> Projector:
            projector = filling(place, table)

            @projector.all(Noted)
            async def fail(record: Record[Noted]) -> None:
                if broken and record.data.number == number:
                    raise Broken

            return projector

        async with place.store() as store:
            await make_tables(store, "view", "view_2")
            await many(store, 20, 20)
            async with store.subscription("view", failing("view", 3), on_error="park") as live:
                await live.caught_up()
            async with store.rebuild(
                "view", failing("view_2", 5), version=2, swap=swap, on_error="park"
            ) as rebuild:
                await rebuild.swap()
            parked = await store.subscriptions.parked()
            assert [(each.name, each.position) for each in parked] == [("view", 6), ("view@1", 4)]
            broken = False
            async with store.subscription("view", filling(place, "view"), version=2):
                assert await store.subscriptions.retry("view") == 1
                await until(lambda: parked_in(store, "view"), 0)
            assert in_table(place) == await in_log(store)

    run(main)


async def parked_in(store: EventStore, name: str) -> int:
    return len(await store.subscriptions.parked(name))


def test_what_the_live_version_has_shown_is_shown_after_the_swap(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with place.store() as store:
            await make_tables(store, "view", "view_2")
            await many(store, 20, 3)
            async with store.subscription("view", filling(place, "view")) as live:
                await live.caught_up()
                async with store.rebuild(
                    "view", filling(place, "view_2", slow_s=0.05), version=2, swap=swap
                ) as rebuild:
                    await rebuild.caught_up()

                    async def move_on() -> None:
                        await note(store, 1, 2, 3)
                        await live.caught_up()

                    before(await checkpoints_of(store), "seize", move_on, monkeypatch)
                    await rebuild.swap()
                    assert in_table(place) == await in_log(store)

    run(main)


def before(
    checkpoints: Checkpoints,
    method: str,
    do: Callable[[], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Has something done before the next call of a method, in the moment that is hard to meet."""
    inner = getattr(checkpoints, method)

    async def call(*arguments: Any, **options: Any) -> Any:
        monkeypatch.undo()
        await do()
        return await inner(*arguments, **options)

    monkeypatch.setattr(checkpoints, method, call)


def test_what_was_swapped_in_meanwhile_is_not_begun_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with place.store() as store, place.store() as other:
            await make_tables(store, "view", "view_2")
            await many(store, 20, 3)
            async with store.subscription("view", filling(place, "view")) as live:
                await live.caught_up()
            async with two_again(store, place) as one:
                await one.caught_up()
                before(await checkpoints_of(other), "register", one.swap, monkeypatch)
                with pytest.raises(OtherVersion):
                    async with two_again(other, place):
                        pass
            assert await versions(store) == {"view": 2, "view@1": 1}
            assert in_table(place) == await in_log(store)

    run(main)


def test_a_swap_whose_slices_were_taken_meanwhile_is_done_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with place.store() as store:
            await make_tables(store, "view", "view_2")
            await many(store, 20, 3)
            async with store.subscription("view", filling(place, "view")) as live:
                await live.caught_up()
            checkpoints = await checkpoints_of(store)
            times = 0

            async def taking(tx: Tx) -> None:
                nonlocal times
                times += 1
                await swap(tx)

            async def take() -> None:
                [held] = await checkpoints.seize("view", "another", ttl_s=60)
                await checkpoints.release("view", {0: held.fence})

            async with store.rebuild(
                "view", filling(place, "view_2"), version=2, swap=taking
            ) as rebuild:
                await rebuild.caught_up()
                # Behind the seizure of the live version, before that of what was rebuilt.
                inner = checkpoints.seize

                async def seize(name: str, worker: str, *, ttl_s: float) -> Any:
                    if name == "view@2":
                        monkeypatch.undo()
                        await take()
                    return await inner(name, worker, ttl_s=ttl_s)

                monkeypatch.setattr(checkpoints, "seize", seize)
                await rebuild.swap()
            assert times == 2
            assert in_table(place) == await in_log(store)
            assert await versions(store) == {"view": 2, "view@1": 1}

    run(main)


def test_a_swap_that_loses_its_slices_has_not_run_swap_either(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with place.store() as store:
            await make_tables(store, "view", "view_2")
            await many(store, 20, 3)
            async with store.subscription("view", filling(place, "view")) as live:
                await live.caught_up()
            checkpoints = await checkpoints_of(store)
            inner = checkpoints.seize

            async def seize(name: str, worker: str, *, ttl_s: float) -> Any:
                held = await inner(name, worker, ttl_s=ttl_s)
                await inner(name, "another", ttl_s=0)  # who takes it over, each time
                return held

            monkeypatch.setattr(checkpoints, "seize", seize)
            async with store.rebuild(
                "view", filling(place, "view_2"), version=2, swap=swap
            ) as rebuild:
                with pytest.raises(Exception, match=r".") as caught:
                    await rebuild.swap()
                assert isinstance(caught.value, LeaseLost)
                assert not rebuild.is_swapped
                in_postgres = place.kind == "postgres"
                tables = "pg_class" if in_postgres else "sqlite_schema"
                column = "relname" if in_postgres else "name"
                assert not place.ask(f"SELECT 1 FROM {tables} WHERE {column} = 'view_1'")
                assert await versions(store) == {"view": 1, "view@2": 2}
                monkeypatch.undo()
                await rebuild.swap()
            assert in_table(place) == await in_log(store)

    run(main)


def test_two_processes_that_rebuild_share_the_work_and_the_swap(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store, place.store() as other:
            await make_tables(store, "view", "view_2")
            await many(store, 200, 3)
            async with store.subscription("view", filling(place, "view")) as live:
                await live.caught_up()
            one = store.rebuild("view", filling(place, "view_2"), version=2, swap=swap)
            two = other.rebuild("view", filling(place, "view_2"), version=2, swap=swap)
            async with one, two:
                await asyncio.gather(one.swap(), two.swap())
                assert one.is_swapped
                assert two.is_swapped
            assert in_table(place) == await in_log(store)
            assert await versions(store) == {"view": 2, "view@1": 1}
            with pytest.raises(OtherVersion, match="a version of its own"):
                async with two_again(other, place):
                    pass

    run(main)


def two_again(store: EventStore, place: Place) -> Rebuild:
    return store.rebuild("view", filling(place, "view_2"), version=2, swap=swap)


def test_what_cannot_be_rebuilt_is_refused(place: Place) -> None:
    async def main() -> None:
        async with place.store() as store:
            projector = filling(place, "view")
            wrong: Any
            for wrong in (0, True, "2"):
                with pytest.raises(InvalidInput):
                    store.rebuild("view", projector, version=wrong, swap=swap)
                with pytest.raises(InvalidInput):
                    store.subscription("view", projector, version=wrong)
            wrong = "ALTER TABLE"
            with pytest.raises(InvalidInput, match="cannot be called"):
                store.rebuild("view", projector, version=2, swap=wrong)
            with pytest.raises(InvalidName, match="@ and a number"):
                store.subscription("view@2", projector)
            with pytest.raises(InvalidName, match="@ and a number"):
                store.rebuild("view@2", projector, version=3, swap=swap)
            rebuild = store.rebuild("view", projector, version=2, swap=swap)
            with pytest.raises(InvalidInput, match="not started"):
                await rebuild.swap()
            with pytest.raises(NotFound, match="no subscription 'view'"):
                async with rebuild:
                    pass
            assert await store.subscriptions.status() == []
            await make_tables(store, "view")
            async with store.subscription("view", projector):
                pass
            with pytest.raises(OtherVersion, match="swap version 2 in first"):
                async with store.subscription("view", projector, version=2):
                    pass
            assert await versions(store) == {"view": 1}

    run(main)
