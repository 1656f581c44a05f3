"""A handler that hangs is cut off: it has failed, nothing of it stands, and nothing is skipped."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from everlog import EventStore, Projector, Record, Tx, reducer, retry, to
from everlog.adapters.sqlite import file_hold
from everlog.errors import (
    HandlerFailed,
    HandlersLeftBehind,
    HandlerTimedOut,
    InvalidInput,
    MisusedStore,
)
from everlog.ports.checkpoints import Parked
from everlog.subscriptions import calling_in_time, time_limit
from everlog.subscriptions.policies import Policy
from tests.store.watched import Noted, run
from tests.subscriptions.durable.places import Place
from tests.subscriptions.durable.test_running import counts, note

SHORT_S = 0.2
"""For `async def` handlers: those of these tests wait for nothing unless they hang."""
THREAD_S = 1.0
"""For `def` handlers, which a busy machine may hold up. One that it does is tried again."""
TWICE = retry(2, first_s=0.01)
HANGS = 3
"""The number of the record for which handlers hang."""
NUMBERS = [(f"s-{n % 3}", n) for n in range(8)]


@pytest.fixture(params=["memory", "sqlite", "same", "postgres"])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "memory":
        return Place("memory", "memory:")
    if request.param == "sqlite":
        return Place("sqlite", f"sqlite:///{tmp_path / 'log.db'}")
    if request.param == "same":
        # What hangs there is cut off anyway: this is longer than any limit here.
        monkeypatch.setattr(file_hold, "LIMIT_S", 5.0)
        return Place("same", f"sqlite:///{tmp_path / 'log.db'}?views=same")
    place = Place("postgres", request.getfixturevalue("postgres_server").new_database())
    place.ask(place.create)
    return place


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """What hangs in threads waits for it; it is set when the test has ended."""
    event = threading.Event()
    yield event
    event.set()


async def until(look: Callable[[], Awaitable[Any]], wanted: object) -> None:
    deadline = time.monotonic() + 20
    while (found := await look()) != wanted:
        assert time.monotonic() < deadline, found
        await asyncio.sleep(0.02)


async def fill(store: EventStore) -> None:
    await store.append_many([to(stream, Noted(number)) for stream, number in NUMBERS])


async def rows(store: EventStore) -> list[int]:
    """Returns the numbers of what stands in the read model, in the order of its writing."""
    checkpoints = await store.subscriptions.place()
    assert checkpoints is not None
    async with checkpoints.transaction() as transaction:
        found = await transaction.tx.fetch("SELECT number FROM handled ORDER BY nr")
    return [number for [number] in found]


async def one_parked(store: EventStore) -> Parked:
    """Waits until the record has been given up, and returns how it stands."""

    async def status() -> list[str]:
        return [str(each.status) for each in await store.subscriptions.parked("view")][:1]

    await until(status, ["parked"])
    return (await store.subscriptions.parked("view"))[0]


def inserting(place: Place, record: Record[Noted]) -> tuple[list[str], tuple[object, ...]]:
    create = [] if place.kind == "postgres" else [place.create]
    return [*create, place.insert], (record.position, record.stream, record.data.number)


def hanging(place: Place, hang: Callable[[Record[Noted], Tx], Any]) -> Projector:
    """Returns a projector that writes each record down, and hangs behind that at one of them."""
    projector = Projector()

    @projector.all(Noted)
    async def write(record: Record[Noted], tx: Tx) -> None:
        *before, insert = inserting(place, record)[0]
        for statement in before:
            await tx.execute(statement)
        await tx.execute(insert, inserting(place, record)[1])
        if record.data.number == HANGS:
            await hang(record, tx)

    return projector


def hanging_in_thread(place: Place, hang: Callable[[Record[Noted], Any], Any]) -> Projector:
    """As `hanging`, with a `def` handler."""
    projector = Projector()

    @projector.all(Noted)
    def write(record: Record[Noted], tx: Any) -> None:
        *before, insert = inserting(place, record)[0]
        for statement in before:
            tx.execute(statement)
        tx.execute(insert, inserting(place, record)[1])
        if record.data.number == HANGS:
            hang(record, tx)

    return projector


async def wait_for_ever(record: Record[Noted], tx: Tx) -> None:
    await asyncio.Event().wait()


def others() -> list[int]:
    """All numbers but the one that hangs and what is behind it in its stream."""
    held_up = next(stream for stream, number in NUMBERS if number == HANGS)
    return [n for stream, n in NUMBERS if stream != held_up or n < HANGS]


def in_their_streams(numbers: list[int]) -> bool:
    """Whether numbers come in order within each stream."""
    return all(
        sorted(of) == of for of in ([n for n in numbers if n % 3 == rest] for rest in range(3))
    )


def running() -> set[threading.Thread]:
    return {each for each in threading.enumerate() if each.name == "everlog-handler"}


@pytest.mark.parametrize("policy", ["park", "skip", TWICE], ids=["park", "skip", "retry"])
def test_a_handler_that_hangs_is_cut_off_and_its_policy_says_what_follows(
    place: Place, policy: Policy
) -> None:
    async def main() -> None:
        ended: list[str] = []
        mended = False

        async def hang(record: Record[Noted], tx: Tx) -> None:
            if mended:
                return
            try:
                await asyncio.Event().wait()
            finally:
                ended.append("cleaned up")

        async with place.store() as store:
            await fill(store)
            projector = hanging(place, hang)
            async with store.subscription(
                "view", projector, on_error=policy, handler_timeout_s=SHORT_S
            ) as subscription:
                await subscription.caught_up()
                if policy == "skip":
                    assert sorted(await rows(store)) == [n for _, n in NUMBERS if n != HANGS]
                    return
                parked = await one_parked(store)
            assert parked.tries == (1 if policy == "park" else 2)
            # In a batch with others, and by itself, unless it does not get so far in time.
            assert 1 <= len(ended) <= parked.tries + 1
            for word in (
                "HandlerTimedOut",
                "'view'",
                ".write",
                f"{SHORT_S:g} s",
                f"position {HANGS + 1}",
                "'s-0'",
                parked.id,
                "handler_timeout_s",
            ):
                assert word in parked.error, word
            assert sorted(await rows(store)) == others()
            mended = True
            async with store.subscription("view", projector):
                await store.subscriptions.retry("view")
                await until(lambda: counts(store), (0, 0, 0))
            assert sorted(await rows(store)) == [n for _, n in NUMBERS]
            assert in_their_streams(await rows(store))

    run(main)


def test_a_handler_that_hangs_stops_its_subscription_where_that_is_the_policy(place: Place) -> None:
    async def main() -> None:
        mended = False

        async def hang(record: Record[Noted], tx: Tx) -> None:
            if not mended:
                await asyncio.Event().wait()

        async with place.store() as store:
            await fill(store)
            projector = hanging(place, hang)
            with pytest.raises(HandlerFailed) as caught:
                async with store.subscription(
                    "view", projector, on_error="stop", handler_timeout_s=SHORT_S
                ) as subscription:
                    await subscription.wait()
            cause = caught.value.__cause__
            assert isinstance(cause, HandlerTimedOut)
            assert (cause.subscription, cause.position, cause.stream, cause.timeout_s) == (
                "view",
                HANGS + 1,
                "s-0",
                SHORT_S,
            )
            assert (cause.record_id,) == caught.value.record_ids
            [status] = await store.subscriptions.status()
            assert status.position == HANGS, "the checkpoint stands before it"
            assert status.error.startswith("HandlerTimedOut: ")
            assert await rows(store) == list(range(HANGS))
            mended = True
            async with store.subscription("view", projector) as subscription:
                await subscription.caught_up()
            assert await rows(store) == [n for _, n in NUMBERS]

    run(main)


@pytest.mark.parametrize("how", ["goes on", "returns", "raises"])
def test_one_that_keeps_its_cancellation_to_itself_has_failed_and_holds_up_nobody(
    place: Place, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_limit, "GRACE_S", 0.2)

    async def main() -> None:
        async def hang(record: Record[Noted], tx: Tx) -> None:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    if how == "returns":
                        return
                    if how == "raises":
                        raise LookupError("it was asked to end") from None

        async with place.store() as store:
            await fill(store)
            async with store.subscription(
                "view", hanging(place, hang), on_error="park", handler_timeout_s=SHORT_S
            ) as subscription:
                await subscription.caught_up()
                parked = await store.subscriptions.parked("view")
                errors = [each.error.split(":")[0] for each in parked if each.status == "parked"]
                assert errors == ["HandlerTimedOut"], "or it counts as handled"
                assert sorted(await rows(store)) == others()
                await note(store, 100, stream="another")  # it still follows
                await subscription.caught_up()
                assert subscription.is_running
            assert sorted(await rows(store)) == [*others(), 100]

    run(main)


def test_a_def_handler_that_hangs_is_left_behind_without_its_transaction(
    place: Place, released: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        said: list[object] = []
        before = running()

        def hang(record: Record[Noted], tx: Any) -> None:
            released.wait()
            for name, arguments in calls:
                try:
                    said.append(getattr(tx, name)(*arguments))
                except MisusedStore as error:
                    said.append(str(error))

        late = (1, "late", -1)
        calls: list[tuple[str, tuple[Any, ...]]] = [
            ("execute", (place.insert, late)),
            ("execute_many", (place.insert, [late])),
            ("fetch", ("SELECT 1",)),
        ]
        async with place.store() as store:
            await fill(store)
            async with store.subscription(
                "view", hanging_in_thread(place, hang), on_error=TWICE, handler_timeout_s=THREAD_S
            ) as subscription:
                await subscription.caught_up()
                assert (await one_parked(store)).error.startswith("HandlerTimedOut: ")
                assert sorted(await rows(store)) == others()
                await note(store, 100, stream="another")
                await subscription.caught_up()
                left = running() - before
                # One in a batch, two by themselves, and the one at work.
                assert len(left) >= 4
                assert all(each.daemon for each in left)
                assert "is left behind, as one of 3 (32 at most)" in caplog.text
                released.set()
                await until(lambda: ended(left), True)
                assert len(said) == 9
                assert {"left behind" in str(each) for each in said} == {True}
                await note(store, 101, stream="another")
                await subscription.caught_up()
            assert sorted(await rows(store)) == [*others(), 100, 101]

    async def ended(left: set[threading.Thread]) -> bool:
        return sum(each.is_alive() for each in left) <= 1

    run(main)


@pytest.mark.parametrize("kind", ["async def", "def"])
def test_a_statement_that_hangs_is_called_off_with_its_handler(
    place: Place, kind: str, tmp_path: Path
) -> None:
    slow = (
        "SELECT pg_sleep(600)"
        if place.kind == "postgres"
        else "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    )

    async def ask(record: Record[Noted], tx: Tx) -> None:
        await tx.fetch(slow)

    def ask_in_thread(record: Record[Noted], tx: Any) -> None:
        tx.fetch(slow)

    async def main() -> None:
        before = running()
        projector = (
            hanging(place, ask) if kind == "async def" else hanging_in_thread(place, ask_in_thread)
        )
        async with place.store() as store:
            await fill(store)
            async with store.subscription(
                "view", projector, on_error=TWICE, handler_timeout_s=THREAD_S
            ) as subscription:
                await subscription.caught_up()
                assert (await one_parked(store)).error.startswith("HandlerTimedOut: ")
                assert sorted(await rows(store)) == others()
                # Nothing of it goes on, in the server, in a thread of ours, or in the file.
                if place.kind == "postgres":
                    await until(lambda: asyncio.to_thread(busy, place), 0)
                await until(lambda: few(before), True)

    async def few(before: set[threading.Thread]) -> bool:
        return len(running() - before) <= 1  # the one at work

    def busy(place: Place) -> int:
        with psycopg.connect(place.url, autocommit=True) as connection:
            [[found]] = connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                "AND pid <> pg_backend_pid() AND query LIKE '%pg_sleep%' AND state <> 'idle'"
            )
        return int(found)

    run(main)


def test_a_state_that_hangs_holds_up_its_own_stream(place: Place) -> None:
    async def main() -> None:
        totals: dict[str, int] = {}
        mended = False
        projector = Projector()

        @reducer("total", initial=int)
        def total(state: int, record: Record[Any]) -> int:
            return state + int(record.data.number)

        @projector.state(total)
        async def show(state: int, record: Record[Any]) -> None:
            if record.stream == "s-0" and not mended:
                await asyncio.Event().wait()
            totals[record.stream] = state

        async with place.store() as store:
            await fill(store)
            async with store.subscription(
                "view", projector, on_error="park", handler_timeout_s=SHORT_S
            ) as subscription:
                await subscription.caught_up()
                assert (await one_parked(store)).error.startswith("HandlerTimedOut: ")
                assert totals == {"s-1": 1 + 4 + 7, "s-2": 2 + 5}
                mended = True
                await store.subscriptions.retry("view")
                await until(lambda: counts(store), (0, 0, 0))
            assert totals == {"s-0": 0 + 3 + 6, "s-1": 1 + 4 + 7, "s-2": 2 + 5}

    run(main)


def test_a_rebuild_cuts_off_what_hangs(place: Place) -> None:
    async def main() -> None:
        async def never(record: Record[Noted], tx: Tx) -> None: ...

        async def swap(tx: Tx) -> None: ...

        async with place.store() as store:
            await fill(store)
            async with store.subscription("view", hanging(place, never)) as subscription:
                await subscription.caught_up()
            async with store.rebuild(
                "view",
                hanging(place, wait_for_ever),
                version=2,
                swap=swap,
                on_error="park",
                handler_timeout_s=SHORT_S,
            ) as rebuild:
                await rebuild.caught_up(timeout_s=20)
                [parked, behind] = await store.subscriptions.parked("view@2")
                assert parked.error.startswith("HandlerTimedOut: ")
                assert behind.status == "behind"

    run(main)


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize("on_ambiguous", ["park", "retry", "it happened", "it did not"])
def test_an_effect_that_is_cut_off_is_ambiguous_and_not_failed(
    place: Place, kind: str, on_ambiguous: Any, released: threading.Event
) -> None:
    async def main() -> None:
        calls: list[int] = []
        asked: list[int] = []

        async def verify(record: Record[Noted]) -> Any:
            asked.append(record.data.number)
            return ("done", 7) if on_ambiguous == "it happened" else False

        async def mail(record: Record[Noted]) -> int:
            calls.append(record.data.number)
            if calls.count(0) == 1 and record.data.number == 0:
                await asyncio.Event().wait()
            return record.data.number

        def mail_in_thread(record: Record[Noted]) -> int:
            calls.append(record.data.number)
            if calls.count(0) == 1 and record.data.number == 0:
                released.wait()
            return record.data.number

        projector = Projector()
        projector.once(
            Noted,
            name="mail",
            on_ambiguous=on_ambiguous if on_ambiguous in ("park", "retry") else verify,
        )(mail if kind == "async def" else mail_in_thread)

        async def statuses() -> list[str]:
            return [each.status for each in await store.subscriptions.effects("view")]

        async with place.store() as store:
            await fill(store)
            # A failure would stop it. Or be what `on_ambiguous` is about, of a second call that the
            # machine has held up.
            async with store.subscription(
                "view",
                projector,
                from_="beginning",
                on_error=retry(9, first_s=0.01, then="stop"),
                handler_timeout_s=THREAD_S,
            ):
                if on_ambiguous == "park":
                    want = ["done" if number % 3 else "pending" for _, number in NUMBERS]
                    want[0] = "ambiguous"
                else:
                    want = ["done"] * len(NUMBERS)
                await until(statuses, want)
                first, *_ = await store.subscriptions.effects("view")
                if on_ambiguous == "park":
                    assert first.error.startswith("HandlerTimedOut: ")
                    assert "position 1, stream 's-0'" in first.error
                    assert first.due_s is None
                    assert calls.count(0) == 1
                elif on_ambiguous == "it happened":
                    assert first.result == "7"
                    assert (asked[0], calls.count(0)) == (0, 1)
                else:
                    assert calls.count(0) >= 2
                    assert asked[:1] == ([0] if on_ambiguous == "it did not" else [])
                if on_ambiguous == "park":
                    await store.subscriptions.settle("view", 1, as_="done")
                    await until(statuses, ["done"] * len(NUMBERS))

    run(main)


def test_an_effect_that_is_cut_off_again_and_again_waits_for_a_person(place: Place) -> None:
    async def main() -> None:
        calls: list[int] = []
        projector = Projector()

        @projector.once(Noted, name="mail", idempotent=True)
        async def mail(record: Record[Noted]) -> None:
            calls.append(record.position)
            await asyncio.Event().wait()

        async def standing() -> list[tuple[str, float | None]]:
            return [(each.status, each.due_s) for each in await store.subscriptions.effects("view")]

        async with place.store() as store:
            await note(store, 1)
            async with store.subscription(
                "view", projector, from_="beginning", on_error=TWICE, handler_timeout_s=SHORT_S
            ):
                await until(standing, [("ambiguous", None)])
                [effect] = await store.subscriptions.effects("view")
                assert effect.tries == 3
                assert effect.error.startswith("HandlerTimedOut: ")
            assert calls == [1, 1, 1]

    run(main)


@pytest.mark.parametrize("kind", ["handlers", "effects"])
def test_a_process_in_which_too_much_hangs_begins_no_more_and_skips_nothing(
    place: Place, kind: str, released: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calling_in_time, "MOST_LEFT", 2)

    async def main() -> None:
        projector = Projector()
        seen: list[int] = []

        def hang(record: Record[Noted]) -> None:
            if not released.is_set():
                released.wait()
            seen.append(record.data.number)

        async def handled() -> set[int]:
            return set(seen)

        if kind == "handlers":
            projector.all(Noted)(hang)
        else:
            projector.once(Noted, name="mail", idempotent=True)(hang)

        async with place.store() as store:
            await fill(store)
            subscription = store.subscription(
                "view",
                projector,
                from_="beginning",
                on_error="park",
                effects_at_once=1,
                handler_timeout_s=0.3,
            )
            await subscription.__aenter__()
            with pytest.raises(HandlersLeftBehind, match=r"2 handlers of subscription 'view'"):
                await (subscription.caught_up() if kind == "handlers" else subscription.wait())
            assert seen == []
            [status] = await store.subscriptions.status()
            assert status.error.startswith("HandlersLeftBehind: ")
            released.set()
            await until(handled, {0} if kind == "handlers" else {0, 1})
            seen.clear()
            async with store.subscription("view", projector, from_="beginning"):
                await store.subscriptions.retry("view")
                await until(handled, set(range(len(NUMBERS))))

    run(main)


def test_a_store_is_closed_while_a_handler_is_left_behind(
    place: Place, released: threading.Event
) -> None:
    async def main() -> None:
        store = await place.store()
        await note(store, HANGS)
        subscription = store.subscription(
            "view",
            hanging_in_thread(place, lambda record, tx: released.wait()),
            on_error="park",
            handler_timeout_s=SHORT_S,
        )
        await subscription.__aenter__()
        await one_parked(store)
        async with asyncio.timeout(15):
            await store.close(timeout_s=10)
        assert not subscription.is_running
        assert not released.is_set()

    run(main)


def test_a_handler_at_hand_is_waited_for_by_who_calls_it_off_no_longer_than_it_may_take(
    place: Place, released: threading.Event
) -> None:
    async def main() -> None:
        began = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hang(record: Record[Noted], tx: Any) -> None:
            loop.call_soon_threadsafe(began.set)
            released.wait()

        store = await place.store()
        await note(store, HANGS)
        subscription = store.subscription(
            "view", hanging_in_thread(place, hang), handler_timeout_s=THREAD_S
        )
        await subscription.__aenter__()
        await began.wait()
        async with asyncio.timeout(15):
            await store.close(timeout_s=0.01)
        assert not subscription.is_running
        assert not released.is_set()

    run(main)


PROGRAM = """
import threading, time
from dataclasses import dataclass
from everlog import event
from everlog.{package} import EventStore, Projector

@event("noted")
@dataclass
class Noted:
    number: int

projector = Projector()

@projector.{kind}
def hang(record):
    threading.Event().wait()
"""
BLOCKING = """
with EventStore.open("memory:", events=[Noted]) as store:
    store.append("a", Noted(1))
    with store.subscription(
        "view", projector, from_="beginning", on_error="park", handler_timeout_s=0.2
    ) as subscription:
        while not (store.subscriptions.{look}):
            time.sleep(0.01)
print("closed")
"""
ASYNC = """
import asyncio

async def main():
    async with EventStore.open("memory:", events=[Noted]) as store:
        await store.append("a", Noted(1))
        async with store.subscription(
            "view", projector, from_="beginning", on_error="park", handler_timeout_s=0.2
        ) as subscription:
            while not (await store.subscriptions.{look}):
                await asyncio.sleep(0.01)
    print("closed")

asyncio.run(main())
"""
KINDS = {
    "a handler": ("all(Noted)", "parked()"),
    "an effect": ("once(Noted, on_ambiguous='park')", "effects(status='ambiguous')"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("package", ["store.event_store", "blocking"])
def test_an_interpreter_ends_with_a_handler_left_behind(package: str, kind: str) -> None:
    declared, look = KINDS[kind]
    is_async = package != "blocking"
    text = PROGRAM.replace("{package}", package).replace("{kind}", declared)
    if is_async:
        text = text.replace(
            "from everlog.store.event_store import EventStore, Projector",
            "from everlog import EventStore, Projector",
        )
    text += (ASYNC if is_async else BLOCKING).replace("{look}", look)
    ran = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stdout.strip()) == (0, "closed"), ran.stderr


def test_one_without_a_limit_is_told_of_in_the_log(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(time_limit, "LONG_S", 0.1)
    caplog.set_level(logging.WARNING, "everlog")

    async def main() -> None:
        go_on = asyncio.Event()

        async def hang(record: Record[Noted], tx: Tx) -> None:
            await go_on.wait()

        async def told() -> int:
            return sum("has run for" in each.getMessage() for each in caplog.records)

        async with place.store() as store:
            await fill(store)
            async with store.subscription("view", hanging(place, hang)) as subscription:
                await until(told, 1)
                await asyncio.sleep(0.3)
                assert await told() == 1, "once a call"
                go_on.set()
                await subscription.caught_up()
            assert await rows(store) == [n for _, n in NUMBERS]
        [message] = [each.getMessage() for each in caplog.records if "has run" in each.msg]
        assert "'view'" in message
        assert f"position {HANGS + 1}" in message

    run(main)


@pytest.mark.parametrize("kind", ["async def", "def"])
@pytest.mark.parametrize("who", ["another process", "a neighbour"])
def test_the_time_in_which_others_have_the_file_is_not_the_handlers(
    who: str, kind: str, tmp_path: Path
) -> None:
    place = Place("sqlite", f"sqlite:///{tmp_path / 'log.db'}")

    async def main() -> None:
        calls: list[str] = []
        waits = asyncio.Event()
        loop = asyncio.get_running_loop()
        projector = Projector()

        async def ask(record: Record[Noted], tx: Tx) -> None:
            calls.append("began")
            waits.set()
            await tx.execute(place.create)
            await tx.fetch("SELECT 1")
            calls.append("ended")

        def ask_in_thread(record: Record[Noted], tx: Any) -> None:
            calls.append("began")
            loop.call_soon_threadsafe(waits.set)
            tx.execute(place.create)
            tx.fetch("SELECT 1")
            calls.append("ended")

        projector.all(Noted)(ask if kind == "async def" else ask_in_thread)

        @asynccontextmanager
        async def holding(store: EventStore) -> AsyncGenerator[None]:
            if who == "another process":
                other = sqlite3.connect(tmp_path / "log.views.db", isolation_level=None)
                other.execute("BEGIN IMMEDIATE")
                yield
                other.execute("ROLLBACK")
                other.close()
                return
            checkpoints = await store.subscriptions.place()
            assert checkpoints is not None
            async with checkpoints.transaction() as transaction:
                await transaction.tx.fetch("SELECT 1")
                yield

        async with place.store() as store:
            async with store.subscription(
                "view", projector, on_error="park", lease_s=60, handler_timeout_s=THREAD_S
            ) as subscription:
                await note(store, 0)
                await subscription.caught_up()  # it holds its lease, and waits for nothing else
                calls.clear()
                waits.clear()
                async with holding(store):
                    await note(store, 1)
                    await waits.wait()
                    await asyncio.sleep(2.5 * THREAD_S)
                    assert calls == ["began"]
                await subscription.caught_up()
            assert calls == ["began", "ended"]
            assert await store.subscriptions.parked() == []

    run(main)


@pytest.mark.parametrize(
    "value", [0, -1, 0.0, float("nan"), float("inf"), True, False, "30", 1e10, [1]]
)
def test_what_is_no_limit_is_refused_before_anything_starts(value: Any) -> None:
    async def main() -> None:
        projector = Projector()

        @projector.all(Noted)
        async def handle(record: Record[Noted]) -> None: ...

        async def swap(tx: Tx) -> None: ...

        async with EventStore.open("memory:", events=[Noted]) as store:
            with pytest.raises(InvalidInput, match="handler_timeout_s="):
                store.subscription("view", projector, handler_timeout_s=value)
            with pytest.raises(InvalidInput, match="handler_timeout_s="):
                store.rebuild("view", projector, version=2, swap=swap, handler_timeout_s=value)
            assert await store.subscriptions.status() == []

    run(main)
