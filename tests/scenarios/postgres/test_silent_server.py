"""A server that takes everything and says nothing any more holds nobody up for long.

It falls silent behind each message of each kind of write in turn, and stays so for whoever connects
anew. Each call ends in time, by an error that is true, and when the server answers again the same
call succeeds, with each event there once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeVar

import pytest

from everlog import EventStore, OutcomeUnknown
from everlog.adapters.postgres.connections import Place
from everlog.adapters.postgres.executing import CALLED_OFF_S
from everlog.core.selection import Selection
from everlog.errors import CannotOpen, LedgerBusy, Unreachable
from tests.proxies.faults import COMMIT, AtStatement, FallsSilent, Passive
from tests.proxies.relay import Line, Side
from tests.proxies.wire import COPY_DATA, SYNC, Message
from tests.scenarios.postgres.site import EVENTS, PATIENCE_S, Noted, Said, Site, eventually, sound
from tests.scenarios.postgres.test_lost_answers import GUESS, WRITES, alone_for_a_while
from tests.scenarios.test_nothing_left_open import nothing_left

T = TypeVar("T")

TIMEOUT_S = 0.2
MARGIN_S = 0.15

SLOW_MACHINE_S = 6.0
"""By so much a call may be late. Without a deadline it never ends."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def short_margin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Does not wait for a second each time."""
    monkeypatch.setattr(Place, "margin_s", property(lambda self: MARGIN_S))


@asynccontextmanager
async def in_time(site: Site, *, margins: int = 2) -> AsyncGenerator[None]:
    """Asserts that what is done takes no longer than it may."""
    allowed_s = TIMEOUT_S + margins * MARGIN_S + SLOW_MACHINE_S
    began = time.monotonic()
    try:
        async with asyncio.timeout(allowed_s):
            yield
    except TimeoutError:
        site.relay.forget()
        site.relay.answer()
        site.relay.cut()  # so that the test ends
        raise AssertionError("it does not end") from None
    took_s = time.monotonic() - began
    assert took_s < allowed_s, f"it took {took_s:.1f} s"


async def silenced(site: Site, write: str, side: Side, *, alone: bool) -> list[str]:
    """Has the server fall silent behind the first message of a write, then behind the second, ...

    Returns how each call ended, until the server did not fall silent any more.
    """
    ended: list[str] = []
    kind = WRITES[write]
    async with (
        EventStore.open(site.url(timeout_s=TIMEOUT_S, readers=1), events=EVENTS) as store,
        EventStore.open(site.straight_url(), events=EVENTS) as rival,
    ):
        while True:
            name = f"n{len(ended) + 1}"
            call = kind.prepare(store, name)
            await alone_for_a_while(store, name)
            if not alone:
                await rival.append("rival", Noted(0), ids=[f"rival-{name}"])
            fault = site.relay.plan(FallsSilent(site.relay, side, len(ended) + 1))
            try:
                async with in_time(site):
                    await call()
            except OutcomeUnknown:
                ended.append("unknown")
            except (Unreachable, LedgerBusy) as error:
                ended.append(type(error).__name__)
                ids = [id for id in site.ids() if id.startswith(f"{name}-")]
                assert ids == []
            else:
                if not fault.happened:
                    break
                ended.append("answered")
            # What was given up is closed: the server is told, and no socket is left. Nothing is
            # given up if it fell silent behind the answer, to the reader that tells others of it.
            kept = 2 if ended[-1] == "answered" else 1
            await eventually(
                partial(few_are_connected, site, kept), f"no more than {kept} are connected"
            )
            site.relay.forget()
            site.relay.answer()
            again = await in_the_end(call)
            if write not in ("a relation",):  # which tells how many were new
                assert again == kind.expected(name)
            assert [id for id in site.ids() if id.startswith(f"{name}-")] == kind.ids(name)
            await kind.besides(rival, name)
            assert len(ended) < 100
        site.relay.forget()
        await sound(rival)
        info = await in_the_end(store.info)
        assert info.position == len(site.ids())
    return ended


def few_are_connected(site: Site, most: int) -> bool:
    """Whether no more than so many are."""
    return site.relay.open <= most


async def in_the_end(call: Callable[[], Awaitable[T]]) -> T:
    """Calls until it succeeds: a lock may still be held, and readers connect again by and by."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await call()
        except (LedgerBusy, OutcomeUnknown, Unreachable):
            assert time.monotonic() < deadline, "the server answers and the store does not"
        await asyncio.sleep(0.05)


@pytest.mark.usefixtures("short_margin")
@pytest.mark.parametrize(
    ("write", "side", "alone"),
    [
        ("one event", "client", True),
        ("a save", "client", True),
        ("one event", "client", False),
        ("some streams", "server", False),
        ("an import", "client", False),
        ("an import", "server", False),
        ("a relation", "client", False),
    ],
)
def test_a_write_to_a_server_that_falls_silent_ends_in_time_and_can_be_repeated(
    site: Site, write: str, side: Side, alone: bool
) -> None:
    async def main() -> None:
        async with nothing_left():
            ended = await silenced(site, write, side, alone=alone)
            await eventually(lambda: site.relay.serving == 0, "every socket is closed")
        print(ended)
        assert "unknown" in ended
        assert alone or ended.count("Unreachable") > 5

    asyncio.run(main())


@pytest.mark.usefixtures("short_margin")
@pytest.mark.parametrize(
    ("write", "statement", "error"),
    [
        ("an import", "BEGIN", Unreachable),
        ("an import", "UPDATE .*ledger_head", Unreachable),
        ("an import", "^COPY", Unreachable),
        ("an import", COMMIT, OutcomeUnknown),
        ("one event", "pg_advisory_xact_lock", Unreachable),
        ("one event", COMMIT, OutcomeUnknown),
    ],
)
def test_only_what_may_have_been_committed_is_called_unknown(
    site: Site, write: str, statement: str, error: type[Exception]
) -> None:
    class SilentAt(AtStatement):
        """Swallows everything from a statement on."""

        def from_client(self, line: Line, message: Message) -> list[Message]:
            if not self._hits(line):
                return [message]
            self._happens()
            site.relay.swallow_here()
            return []

    async def main() -> None:
        async with EventStore.open(site.url(timeout_s=TIMEOUT_S), events=EVENTS) as store:
            fault = site.relay.plan(SilentAt(statement))
            with pytest.raises(error):
                async with in_time(site):
                    await WRITES[write].call(store, "far")
            assert fault.happened
            site.relay.answer()
            site.relay.forget()
            again = await in_the_end(WRITES[write].prepare(store, "far"))
            assert again == WRITES[write].expected("far")
            assert site.ids() == WRITES[write].ids("far")

    asyncio.run(main())


@pytest.mark.usefixtures("short_margin")
@pytest.mark.parametrize("stored", [True, False], ids=["it was stored", "it was not"])
@pytest.mark.parametrize(
    ("write", "alone"),
    [("one event", True), ("one event", False), ("an import", False), ("a relation", False)],
)
def test_what_became_of_a_write_is_looked_up_where_the_server_answers_somebody_else(
    site: Site, write: str, alone: bool, stored: bool
) -> None:
    class SilentOnOneLine(AtStatement):
        """Swallows a statement or its answer, and all that comes on this line."""

        line: Line | None = None

        def from_client(self, line: Line, message: Message) -> list[Message]:
            hit = self._hits(line)
            if hit:
                self._happens()
                self.line = line
            if line is not self.line or (stored and not self.ended):
                self.ended = self.ended or (line is self.line and message.kind == SYNC)
                return [message]
            return []

        ended = False

        def from_server(self, line: Line, message: Message) -> list[Message]:
            return [message] if line is not self.line else []

    async def main() -> None:
        async with EventStore.open(site.url(timeout_s=TIMEOUT_S), events=EVENTS) as store:
            await alone_for_a_while(store, "far")
            if not alone:
                async with EventStore.open(site.straight_url(), events=EVENTS) as rival:
                    for number in range(2):
                        await rival.append("rival", Noted(number))
            fault = site.relay.plan(SilentOnOneLine(GUESS if alone else COMMIT))
            before = len(site.ids())
            try:
                async with in_time(site, margins=3):
                    answer = await WRITES[write].call(store, "far")
            except OutcomeUnknown:
                # The lock is the server's to give back: what was not stored may be held by it yet.
                assert not stored
                assert not alone
                answer = await in_the_end(WRITES[write].prepare(store, "far"))
            assert fault.happened
            assert answer == WRITES[write].expected("far")
            assert site.ids()[before:] == WRITES[write].ids("far")
            await WRITES[write].besides(store, "far")
            await sound(store)

    asyncio.run(main())


@pytest.mark.usefixtures("short_margin")
def test_a_reader_of_a_server_that_falls_silent_is_told_in_time(site: Site) -> None:
    async def main() -> None:
        url = site.url(timeout_s=TIMEOUT_S, readers=2)
        async with nothing_left():
            async with EventStore.open(url, events=EVENTS) as store:
                await store.append("a", *[Noted(number) for number in range(3)])

                async def read() -> int:
                    return len([record async for record in store.read("a")])

                nth = 0
                while True:
                    nth += 1
                    fault = site.relay.plan(FallsSilent(site.relay, "client", nth))
                    try:
                        async with in_time(site, margins=4):
                            await read()
                    except Unreachable:
                        assert fault.happened
                    else:
                        break
                    if nth == 1:  # nor are those held up who find no connection any more
                        async with in_time(site, margins=4):
                            reads = (read() for _ in range(5))
                            ended = await asyncio.gather(*reads, return_exceptions=True)
                        assert {type(error) for error in ended} == {Unreachable}
                    site.relay.forget()
                    site.relay.answer()
                    assert await in_the_end(read) == 3
                assert nth > 3
                site.relay.swallow()
                began = time.monotonic()
            assert time.monotonic() - began < 10, "closing waits for the server"
            await eventually(lambda: site.relay.serving == 0, "every socket is closed")

    asyncio.run(main())


@pytest.mark.usefixtures("short_margin")
def test_who_opens_a_store_on_a_silent_server_is_told_in_time(site: Site) -> None:
    async def main() -> None:
        async with nothing_left():
            nth = 0
            while True:
                nth += 1 if nth < 5 else 5
                fault = site.relay.plan(FallsSilent(site.relay, "server", nth))
                try:
                    async with in_time(site, margins=3):
                        store = await EventStore.open(site.url(timeout_s=TIMEOUT_S))
                except CannotOpen:
                    assert fault.happened
                else:
                    await store.close()
                    break
                site.relay.forget()
                site.relay.answer()
            assert nth > 10
            site.relay.forget()
            await eventually(lambda: site.relay.serving == 0, "every socket is closed")

    asyncio.run(main())


@pytest.mark.usefixtures("short_margin")
def test_who_is_called_off_while_a_server_is_silent_is_free_soon(site: Site) -> None:
    async def main() -> None:
        async with nothing_left():
            async with EventStore.open(site.url(timeout_s=60), events=EVENTS) as store:
                await store.append("a", Noted(1))
                await store.info()  # a reader is there
                site.relay.swallow()
                began = time.monotonic()
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.1):
                        await store.info()
                # The request to end the statement is swallowed, too.
                assert time.monotonic() - began < 2 * CALLED_OFF_S + 2
                site.relay.answer()
                assert await store.append("a", Noted(2))
            await eventually(lambda: site.relay.serving == 0, "every socket is closed")

    asyncio.run(main())


def test_an_import_that_goes_on_is_not_cut_however_long_it_takes(site: Site) -> None:
    class SlowLine(Passive):
        """Lets 1.6 megabytes a second pass.

        Several megabytes lie in the buffers of both ends, and be taken without a sign of it.
        """

        def from_client(self, line: Line, message: Message) -> list[Message]:
            if message.kind == COPY_DATA:
                time.sleep(len(message.body) / 1.6e6)
            return [message]

    async def main() -> None:
        limit_s = Place({}, timeout_s=5).silence_s
        async with EventStore.open(site.url(timeout_s=5), events=EVENTS) as store:
            records = [
                store.past("s", Said("x" * 40_000), created=f"{n:012x}0000" + "a" * 16, id=f"{n}")
                for n in range(400)
            ]
            site.relay.plan(SlowLine())
            began = time.monotonic()
            result = await store.import_records(records)
            took_s = time.monotonic() - began
            assert result.stored == 400
            assert took_s > 1.5 * limit_s  # each part of it comes within the limit
            site.relay.forget()

    asyncio.run(main())


def test_a_page_that_comes_slowly_is_not_cut(site: Site) -> None:
    class SlowLine(Passive):
        """Lets a megabyte a second pass."""

        def from_server(self, line: Line, message: Message) -> list[Message]:
            time.sleep(len(message.body) / 1e6)
            return [message]

    async def main() -> None:
        async with EventStore.open(site.straight_url(), events=EVENTS) as store:
            await store.append("s", *[Said("x" * 40_000) for _ in range(80)])
        async with EventStore.open(site.url(timeout_s=1), events=EVENTS) as store:
            await store.info()
            site.relay.plan(SlowLine())
            began = time.monotonic()
            page = await store.ledger.read(Selection())
            took_s = time.monotonic() - began
            assert len(page.records) == 80
            assert took_s > 2  # in one answer
            site.relay.forget()

    asyncio.run(main())


@pytest.mark.usefixtures("short_margin")
def test_a_check_takes_as_long_as_it_takes_while_the_server_answers(site: Site) -> None:
    async def main() -> None:
        async with EventStore.open(site.url(timeout_s=TIMEOUT_S), events=EVENTS) as store:
            await store.append("a", Noted(1))
            with site.direct.transaction():
                site.direct.execute(f"LOCK TABLE {site.schema}.records".encode())
                checking = asyncio.create_task(store.ledger.check())
                await eventually(lambda: site.relay.connections > 5, "it was asked several times")
                assert not checking.done()
            assert await checking == []
            with site.direct.transaction():
                site.direct.execute(f"LOCK TABLE {site.schema}.records".encode())
                checking = asyncio.create_task(store.ledger.check())
                await eventually(lambda: site.relay.connections > 9, "it is under way")
                site.relay.swallow()
                with pytest.raises(Unreachable):
                    async with in_time(site, margins=4):
                        await checking

    asyncio.run(main())
