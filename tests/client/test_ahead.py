"""Pieces that were asked for ahead: in time, and never another one than is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from everlog.client.ahead import MOST, Ahead, open_ended
from everlog.client.http import Answer, Http
from everlog.client.transport import HttpTransport
from everlog.core.taking import BEGINNING, Mark
from everlog.errors import TransportFailed
from everlog.wire.cursors import read_cursor
from everlog.wire.messages import Asked, Pulled, Scope
from everlog.wire.pieces import piece_lines, read_piece
from everlog.wire.protocol import NDJSON
from tests.client.running import run
from tests.sync.test_rounds import Site

HUB = "0123456789abcdef" * 2
ASKED = Asked("e" * 32, HUB, (BEGINNING,), Scope())


def mark(number: int) -> Mark:
    return BEGINNING if number == 0 else Mark(number, bytes([number]) * 32)


def behind(number: int) -> Asked:
    return ASKED._replace(marks=(mark(number),))


class Far:
    """A hub whose history has so many pieces, each of one position, and what it was asked for."""

    def __init__(self, pieces: int) -> None:
        self.pieces = pieces
        self.asked: list[int] = []
        self.read: list[int] = []
        self.may_read = asyncio.Event()
        self.may_read.set()
        self.fails = False
        self.broken: Exception | None = None
        self.status = 200

    async def fetch(self, asked: Asked, size: int) -> Answer:
        at = asked.cursor.position
        self.asked.append(at)
        await asyncio.sleep(0)
        if self.fails:
            raise TransportFailed("it was cut")
        if self.broken is not None:
            raise self.broken
        end = min(at + 1, self.pieces)
        pulled = Pulled("epoch", mark(at), (), (), mark(end), end == self.pieces, "", 99)
        return Answer(self.status, NDJSON, {}, b"".join(piece_lines(pulled, HUB)))

    async def reading(self, asked: Asked, size: int, answer: Answer) -> Pulled:
        await self.may_read.wait()
        self.read.append(asked.cursor.position)
        return open_ended(read_piece(answer.body))


@asynccontextmanager
async def ahead_of(far: Far) -> AsyncGenerator[Ahead]:
    ahead = Ahead(far.fetch, far.reading)
    try:
        yield ahead
    finally:
        await ahead.drop()


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_what_comes_behind_the_next_is_asked_for_before_that_is_read_and_no_more() -> None:
    async def main() -> None:
        far = Far(9)
        far.may_read.clear()
        async with ahead_of(far) as ahead:
            ahead.begin(ASKED, 5)
            await settled()
            assert (far.asked, far.read) == ([*range(MOST)], [])
            far.may_read.set()
            for number in range(4):
                pulled = await ahead.next(behind(number), 5)
                assert pulled is not None
                assert (pulled.start, pulled.end) == (mark(number), mark(number + 1))
                ahead.begin(behind(number + 1), 5)
                await settled()
                assert far.asked == [*range(number + 1 + MOST)], "each once, and no further"

    run(main)


def test_that_there_is_no_more_is_never_taken_from_what_was_asked_ahead() -> None:
    async def main() -> None:
        far = Far(2)
        async with ahead_of(far) as ahead:
            ahead.begin(ASKED, 5)
            assert await ahead.next(ASKED, 5) is not None
            last = await ahead.next(behind(1), 5)
            assert last is not None
            assert (last.end, last.up_to_date) == (mark(2), False), "the piece is, its word is not"
            await settled()
            assert far.asked == [0, 1], "and nothing is asked for behind the end"
            assert await ahead.next(behind(2), 5) is None, "so that is asked for by who wants it"
            ahead.begin(behind(2), 5)
            assert await ahead.next(behind(2), 5) is None, "nothing is in it but that word"

    run(main)


def test_what_is_wanted_from_elsewhere_is_asked_for_anew() -> None:
    async def main() -> None:
        far = Far(9)
        async with ahead_of(far) as ahead:
            for other in (
                (behind(3), 5),
                (ASKED, 6),
                (ASKED._replace(marks=(Mark(0, b"x" * 32),)), 5),
                (ASKED._replace(hub="f" * 32), 5),
                (ASKED._replace(edge="f" * 32), 5),
                (ASKED._replace(scope=Scope(prefix="a")), 5),
            ):
                ahead.begin(ASKED, 5)
                await settled()
                assert await ahead.next(*other) is None
                assert await ahead.next(ASKED, 5) is None, "it was dropped"

    run(main)


def test_what_went_wrong_ahead_is_asked_for_again_and_not_raised() -> None:
    async def main() -> None:
        far = Far(9)
        async with ahead_of(far) as ahead:
            far.fails = True
            ahead.begin(ASKED, 5)
            assert await ahead.next(ASKED, 5) is None
            far.fails, far.status = False, 409
            ahead.begin(ASKED, 5)
            assert await ahead.next(ASKED, 5) is None
            far.status = 200
            ahead.begin(ASKED, 5)
            assert await ahead.next(ASKED, 5) is not None
            far.fails = True  # and what is behind it is left for nobody to see

    run(main)


class Growing:
    """A hub in which an event is appended with each request, as where somebody always writes."""

    place = "a hub"

    def __init__(self) -> None:
        self.site = Site()

    async def ask(
        self,
        method: str,
        path: str,
        *,
        accept: str,
        query: list[tuple[str, str]],
        headers: dict[str, str],
    ) -> Answer:
        await self.site.append("a", "new")
        fields, own = dict(query), self.site.ledger.identity.ledger
        mark = read_cursor(fields["cursor"]).mark
        asked = Asked(headers["Everlog-Ledger"], own, (mark,), Scope())
        pulled = await self.site.hub().pull(asked, size=int(fields["limit"]))
        assert isinstance(pulled, Pulled)
        return Answer(200, NDJSON, {}, b"".join(piece_lines(pulled, own)))

    async def close(self) -> None:
        pass


def test_a_hub_that_is_written_to_all_the_time_is_up_to_date_once() -> None:
    """Or no round ends, and nothing is ever pushed."""

    async def main() -> None:
        hub = Growing()
        await hub.site.append("a", *map(str, range(12)))
        asked = Asked("e" * 32, hub.site.ledger.identity.ledger, (BEGINNING,), Scope())
        transport = HttpTransport(cast("Http", hub))
        for _ in range(8):
            pulled = await transport.pull(asked, size=5)
            assert isinstance(pulled, Pulled)
            if pulled.up_to_date:
                break
            asked = asked._replace(marks=(pulled.end,))
        else:
            raise AssertionError("it has never been up to date")
        await transport.close()

    run(main)


def test_what_is_waited_for_is_not_ended_by_who_drops_the_others() -> None:
    async def main() -> None:
        far = Far(9)
        far.may_read.clear()
        async with ahead_of(far) as ahead:
            ahead.begin(ASKED, 5)
            await settled()
            waiting = asyncio.create_task(ahead.next(ASKED, 5))
            await settled()
            await ahead.drop()
            far.may_read.set()
            pulled = await waiting
            assert pulled is not None
            assert pulled.end == mark(1)

    run(main)


def test_an_error_that_nobody_expects_is_raised_once() -> None:
    async def main() -> None:
        far = Far(9)
        async with ahead_of(far) as ahead:
            far.broken = MemoryError()
            ahead.begin(ASKED, 5)
            with pytest.raises(MemoryError):
                await ahead.next(ASKED, 5)
            assert await ahead.next(ASKED, 5) is None

    run(main)


def test_who_gives_up_waiting_leaves_nothing_behind() -> None:
    async def main() -> None:
        far = Far(9)
        far.may_read.clear()
        async with ahead_of(far) as ahead:
            ahead.begin(ASKED, 5)
            await settled()
            waiting = asyncio.create_task(ahead.next(ASKED, 5))
            await settled()
            waiting.cancel()
            await asyncio.wait([waiting])
            assert waiting.cancelled()
            assert len(asyncio.all_tasks()) == 1, "only this test"

    run(main)
