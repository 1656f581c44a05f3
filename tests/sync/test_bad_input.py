"""What is wrong with what comes in is said, shown by the status, and nothing is lost by it."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from everlog import EventStore, InvalidInput, event
from everlog.core.record import StoredRecord
from everlog.core.taking import BEGINNING, Judged, Mark
from everlog.errors import CorruptLedger, NotSupported, SyncError, UpstreamFault, WrongUpstream
from everlog.sync.hub import Hub
from everlog.wire.messages import Asked, Forked, Hello, Made, Offer, Pulled, Pushed, Welcome
from tests.store.watched import Noted, run


@event("sync:elsewhere")
@dataclass
class Elsewhere:
    """An event of which only some know."""

    text: str


def same(answer: Any) -> Any:
    """What passes as it is."""
    return answer


class Line:
    """A hub whose answers are changed on the way."""

    def __init__(
        self,
        hub: Hub,
        *,
        pulled: Callable[[Pulled], Pulled | Forked] = same,
        pushed: Callable[[Pushed], Pushed] = same,
        offered: Callable[[Offer], Offer] = same,
        welcome: Callable[[Welcome], Welcome] = same,
    ) -> None:
        self.hub = hub
        self.pulled, self.pushed = pulled, pushed
        self.offered, self.welcome = offered, welcome

    async def hello(self, hello: Hello) -> Welcome:
        return self.welcome(await self.hub.hello(hello))

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        answer = await self.hub.pull(asked, size=size)
        return self.pulled(answer) if isinstance(answer, Pulled) else answer

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        answer = await self.hub.push(asked, [self.offered(offer) for offer in offers])
        return self.pushed(answer) if isinstance(answer, Pushed) else answer

    async def append(self, hub: str, request: Any) -> Made:
        return await self.hub.append(hub, request)

    async def wait(self, position: int, *, timeout_s: float) -> int:
        return await self.hub.wait(position, timeout_s=timeout_s)


def store() -> Any:
    return EventStore.open("memory:", events=[Noted])


async def ids(store: EventStore) -> list[str]:
    return sorted([record.id async for record in store.read()])


def damaged(record: StoredRecord) -> StoredRecord:
    return record._replace(data='{"number":99}')


def damage_one(offer: Offer) -> Offer:
    return offer._replace(record=damaged(offer.record)) if offer.record.id == "a1" else offer


def all_but_the_last(answer: Pushed) -> Pushed:
    return answer._replace(judged=answer.judged[:-1])


FAULTS: dict[str, tuple[Callable[[Pulled], Pulled | Forked], str]] = {
    "a record with a wrong hash": (
        lambda answer: answer._replace(records=(*map(damaged, answer.records),)),
        "does not match its hash",
    ),
    "a foreign chain": (
        lambda answer: answer._replace(
            records=tuple(record._replace(chain=b"x" * 32) for record in answer.records)
        ),
        "its chain does not fit its record at position 1",
    ),
    "another version": (
        lambda answer: answer._replace(
            records=tuple(record._replace(version=7) for record in answer.records)
        ),
        "its chain does not fit",
    ),
    "a version that is none": (
        lambda answer: answer._replace(
            records=tuple(record._replace(version=-1) for record in answer.records)
        ),
        "its version is no number from 0 to 9223372036854775807",
    ),
    "flags that are none": (
        lambda answer: answer._replace(
            records=tuple(record._replace(flags=256) for record in answer.records)
        ),
        "its flags is no number from 0 to 255",
    ),
    "a record left out": (
        lambda answer: answer._replace(records=answer.records[1:]),
        "after position 0 it gave 2",
    ),
    "another beginning": (
        lambda answer: answer._replace(start=Mark(4, b"y" * 32)),
        "begins at position 4",
    ),
    "another end": (
        lambda answer: answer._replace(end=Mark(9, b"y" * 32)),
        "ends at position 9",
    ),
    "a receipt of another length": (
        lambda answer: answer._replace(receipts=(b"r", None, None)),
        "not 32 bytes",
    ),
    "nothing, and there is more": (
        lambda answer: answer._replace(records=(), receipts=(), end=answer.start, up_to_date=False),
        "gave nothing",
    ),
    "a receipt too few": (
        lambda answer: answer._replace(receipts=(b"r",)),
        "1 receipts for 3 records",
    ),
    "a fork before the beginning": (
        lambda answer: Forked(answer.epoch, BEGINNING),
        "histories part behind position 0",
    ),
    "a scope that nobody asked for": (
        lambda answer: answer._replace(records=(), scope="some"),
        "was not asked for",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_an_answer_that_contradicts_itself_is_taken_in_no_part(fault: str) -> None:
    change, said = FAULTS[fault]

    async def main() -> None:
        async with store() as hub, store() as edge:
            await hub.append("a", Noted(1), Noted(2), Noted(3))
            await edge.append("b", Noted(4), ids=["mine"])
            line = Line(hub.as_hub(), pulled=change)
            sync = edge.sync(line)
            with pytest.raises(UpstreamFault, match=said):
                await sync.once()
            status = await sync.status()
            assert said in status.error
            assert (status.position, status.tries, status.in_step) == (0, 1, False)
            assert await ids(edge) == ["mine"]
            line.pulled = same  # somebody has mended it
            assert (await sync.once()).in_step
            assert (await sync.status()).error == ""
            assert await ids(edge) == await ids(hub)

    run(main)


WELCOMES: dict[str, Callable[[Welcome], Welcome]] = {
    "a clock of text": lambda welcome: welcome._replace(now_ms="noon"),  # type: ignore[arg-type]
    "no bound": lambda welcome: welcome._replace(max_offset_ms=None),  # type: ignore[arg-type]
    "strict of nothing": lambda welcome: welcome._replace(strict=None),  # type: ignore[arg-type]
    "all strict": lambda welcome: welcome._replace(strict=("",)),
    "no ledger": lambda welcome: welcome._replace(ledger=""),
}

_mark: Callable[..., Any] = Mark
_forked: Callable[..., Any] = Forked
"""With parts of any kind."""

WRONG: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "no welcome": ("welcome", lambda welcome: None),
    "an answer of another call": ("welcome", lambda welcome: Forked(welcome.epoch, BEGINNING)),
    "no piece": ("pulled", lambda answer: None),
    "a piece of a dictionary": ("pulled", lambda answer: answer._asdict()),
    "no epoch": ("pulled", lambda answer: answer._replace(epoch=None)),
    "a start of numbers": ("pulled", lambda answer: answer._replace(start=(0, answer.start.chain))),
    "a start of text": ("pulled", lambda answer: answer._replace(start=_mark("0", b"x" * 32))),
    "an end before all": ("pulled", lambda answer: answer._replace(end=Mark(-1, b"x" * 32))),
    "an end without a chain": ("pulled", lambda answer: answer._replace(end=Mark(1, b"x"))),
    "no records": ("pulled", lambda answer: answer._replace(records=None)),
    "records of tuples": (
        "pulled",
        lambda answer: answer._replace(records=tuple((*each,) for each in answer.records)),
    ),
    "a record of text": (
        "pulled",
        lambda answer: answer._replace(
            records=tuple(each._replace(position="1") for each in answer.records)
        ),
    ),
    "receipts of nothing": ("pulled", lambda answer: answer._replace(receipts=None)),
    "more of text": ("pulled", lambda answer: answer._replace(up_to_date="no")),
    "a scope of nothing": ("pulled", lambda answer: answer._replace(scope=None)),
    "a fork to nowhere": ("pulled", lambda answer: _forked(answer.epoch, None)),
    "no verdicts": ("pushed", lambda answer: None),
    "a list of nothing": ("pushed", lambda answer: answer._replace(judged=None)),
    "verdicts of text": ("pushed", lambda answer: answer._replace(judged=["accepted"])),
    "a verdict of a list": (
        "pushed",
        lambda answer: answer._replace(judged=[answer.judged[0]._replace(verdict=[])]),
    ),
    "an answer to another push": (
        "pushed",
        lambda answer: answer._replace(cursor=Mark(7, b"c" * 32)),
    ),
    "a cursor of nothing": ("pushed", lambda answer: answer._replace(cursor=None)),
    "a fork of another kind": ("pushed", lambda answer: _forked(7, BEGINNING)),
    "a clock that is none": ("pushed", lambda answer: answer._replace(now_ms=None)),
}
"""What a hub may say that is of no kind, or of another."""


@pytest.mark.parametrize("fault", WRONG)
def test_an_answer_of_another_kind_is_the_hubs_fault_and_not_the_end(
    fault: str, tmp_path: Path
) -> None:
    at, change = WRONG[fault]

    async def main() -> None:
        async with (
            store() as hub,
            EventStore.open(f"sqlite:///{tmp_path / 'edge.db'}", events=[Noted]) as edge,
        ):
            await hub.append("a", Noted(1), ids=["theirs"])
            await edge.append("b", Noted(4), ids=["mine"])
            line = Line(hub.as_hub(), **{at: change})
            with pytest.raises(UpstreamFault):
                await edge.sync(line).once()
            async with edge.sync(line) as sync:
                deadline = time.monotonic() + 30
                # What was handed in is there, whatever was said of it: nothing is left to push.
                while at != "pushed" and (await sync.status()).tries < 2:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.01)
                setattr(line, at, same)  # somebody has mended it
                await sync.in_step()
            assert await ids(edge) == await ids(hub)

    run(main)


ANSWERS: dict[str, Callable[[Judged], Judged]] = {
    "a place that is none": lambda each: each._replace(verdict="out_of_scope", position=2**63),
    "a verdict that is none": lambda each: each._replace(verdict="fine"),  # type: ignore[arg-type]
    "a reason that is none": lambda each: each._replace(reason=7),  # type: ignore[arg-type]
    "another id": lambda each: each._replace(id="other"),
}


@pytest.mark.parametrize("fault", [*WELCOMES, *ANSWERS])
def test_what_a_hub_says_that_is_none_of_its_words_leaves_nothing_behind(
    fault: str, tmp_path: Path
) -> None:
    async def main() -> None:
        async with (
            store() as hub,
            EventStore.open(f"sqlite:///{tmp_path / 'edge.db'}", events=[Noted]) as edge,
        ):
            await edge.append("b", Noted(4), ids=["mine"])
            line = Line(hub.as_hub())
            if fault in WELCOMES:
                line.welcome = WELCOMES[fault]
            else:

                def changed(pushed: Pushed) -> Pushed:
                    return pushed._replace(judged=[*map(ANSWERS[fault], pushed.judged)])

                line.pushed = changed
            with pytest.raises(UpstreamFault):
                await edge.sync(line).once()
            assert (await edge.sync(hub).once()).in_step
            assert await ids(edge) == await ids(hub) == ["mine"]

    run(main)


def test_what_goes_on_by_itself_shows_why_it_does_not_and_does_when_it_can() -> None:
    async def main() -> None:
        async with store() as hub, store() as edge:
            await hub.append("a", Noted(1))
            change, said = FAULTS["a foreign chain"]
            line = Line(hub.as_hub(), pulled=change)
            async with edge.sync(line) as sync:
                deadline = time.monotonic() + 10
                while (await sync.status()).tries < 2:
                    assert time.monotonic() < deadline
                    await asyncio.sleep(0.01)
                assert said in (await sync.status()).error
                line.pulled = same
                await sync.in_step()
                assert (await sync.status()).error == ""

    run(main)


def test_another_ledger_behind_the_same_line_is_greeted_as_what_it_is() -> None:
    async def main() -> None:
        async with store() as hub, store() as other, store() as edge:
            await hub.append("a", Noted(1), ids=["a"])
            await other.append("b", Noted(2), ids=["b"])
            await edge.append("c", Noted(3), ids=["c"])
            line = Line(hub.as_hub())
            sync = edge.sync(line)
            assert (await sync.once()).in_step
            line.hub = other.as_hub()
            with pytest.raises(WrongUpstream, match="say hello again"):
                await sync.once()
            assert await ids(other) == ["b"], "nothing was handed to who was not meant"
            assert (await sync.once()).in_step
            assert await ids(other) == await ids(edge) == ["a", "b", "c"]
            assert await ids(hub) == ["a", "c"]

    run(main)


def test_a_store_is_not_its_own_hub() -> None:
    async def main() -> None:
        async with store() as one:
            with pytest.raises(InvalidInput, match="its own hub"):
                one.sync(one)
            with pytest.raises(WrongUpstream, match="cannot be its own upstream"):
                await one.sync(one.as_hub()).once()
            for wrong in ("sqlite:///hub.db", b"", None, 7, object()):
                with pytest.raises(
                    InvalidInput, match=r"a hub is an open EventStore|begins with https"
                ):
                    one.sync(wrong)

    run(main)


def test_one_bad_record_in_the_middle_stops_its_stream_and_nothing_else() -> None:
    async def main() -> None:
        async with store() as hub, store() as edge:
            for number, stream in enumerate("aabbab"):
                await edge.append(stream, Noted(number), ids=[f"{stream}{number}"])
            line = Line(
                hub.as_hub(),
                offered=damage_one,
            )
            sync = edge.sync(line)
            done = await sync.once()
            assert (done.pushed, done.held, done.in_step) == (4, 1, True)
            assert await ids(hub) == ["a0", "b2", "b3", "b5"]
            [held] = (await sync.status()).held
            assert (held.id, held.stream, held.verdict) == ("a1", "a", "tampered")
            assert "does not match its hash" in held.reason
            await edge.append("a", Noted(6), ids=["a6"])
            assert (await sync.once()).pushed == 0, "it waits behind what is held"
            line.offered = same
            assert await sync.release("a1") == 1
            assert (await sync.once()).pushed == 3
            assert await ids(hub) == await ids(edge)
            assert [record.id async for record in hub.read("a")] == ["a0", "a1", "a4", "a6"]

    run(main)


def test_who_has_no_receipt_cannot_write_in_anothers_name() -> None:
    async def main() -> None:
        async with store() as hub, store() as edge, store() as third:
            await third.append("t", Noted(1), ids=["theirs"])
            await edge.import_records(third.read())
            await edge.append("e", Noted(2), ids=["mine"])
            secret = hub.as_hub(secret=b"s" * 16)
            sync = edge.sync(Line(secret))
            done = await sync.once()
            assert (done.pushed, done.held) == (1, 1)
            [held] = (await sync.status()).held
            assert (held.id, held.verdict) == ("theirs", "rejected")
            assert "born in another ledger" in held.reason
            await third.sync(Line(secret)).once()
            # With what the hub gave, it may give back what is not its own.
            assert (await sync.once()).in_step
            assert (await sync.status()).held == ()

    run(main)


def test_a_protocol_that_is_not_known_is_told_which_is() -> None:
    async def main() -> None:
        async with store() as hub:
            hello = Hello("l" * 32, "n" * 16, "i" * 16, protocols=(2, 3))
            with pytest.raises(NotSupported, match="speaks protocol 1, and the edge 2, 3"):
                await hub.as_hub().hello(hello)

    run(main)


def test_answers_to_something_else_than_what_was_offered_are_no_answers() -> None:
    async def main() -> None:
        async with store() as hub, store() as edge:
            await edge.append("a", Noted(1), Noted(2))
            line = Line(hub.as_hub(), pushed=all_but_the_last)
            with pytest.raises(UpstreamFault, match="did not answer what it was offered"):
                await edge.sync(line).once()
            line.pushed = same
            assert (await edge.sync(line).once()).in_step
            assert await ids(hub) == await ids(edge)

    run(main)


def test_events_of_a_type_that_is_not_known_travel_as_they_are() -> None:
    async def main() -> None:
        async with (
            EventStore.open("memory:", events=[Elsewhere]) as writer,
            EventStore.open("memory:", events=[]) as hub,
            EventStore.open("memory:", events=[Elsewhere]) as reader,
        ):
            await writer.append("a", Elsewhere("hello"))
            await writer.sync(hub).once()
            await reader.sync(hub).once()
            [there] = [record async for record in hub.read()]
            assert there.json == {"text": "hello"}
            [here] = [record async for record in reader.read()]
            assert here.data == Elsewhere("hello")
            [first] = [record async for record in writer.read()]
            assert {there.hash, here.hash} == {first.hash}

    run(main)


def test_every_error_of_sync_is_one() -> None:
    for error in (UpstreamFault("x"), WrongUpstream("x")):
        assert isinstance(error, SyncError)


def test_what_is_known_of_a_hub_and_damaged_stops_appends_and_nobody_who_verifies(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        place = tmp_path / "edge.db"
        async with store() as hub, EventStore.open(place, events=[Noted]) as edge:
            await hub.append("a", Noted(1))
            await edge.sync(hub).once()
        file = sqlite3.connect(place)
        with closing(file), file:
            file.execute("UPDATE sync_upstreams SET marks = 'no list'")
        async with EventStore.open(place, events=[Noted]) as edge:
            assert len(await edge.read().to_list()) == 1
            assert (await edge.verify()).records == 1
            with pytest.raises(CorruptLedger):
                await edge.append("b", Noted(2))
            assert (await edge.info()).position == 1

    run(main)
