"""Rounds: two and three ledgers in memory become one, whatever is lost on the way."""

# pyright: reportPrivateUsage=false
# The tables of a ledger in memory are its disk: a copy of them is its backup.

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import pytest

from everlog.adapters.memory.ledger import MemoryLedger
from everlog.adapters.memory.upstreams import MemoryUpstreams
from everlog.core.chain import RETURNED
from everlog.core.record import StoredRecord
from everlog.core.relation import Relate
from everlog.core.selection import Selection
from everlog.core.sequencer import Append, NewEvent, Placed
from everlog.core.stream import ANY, Expectation
from everlog.core.taking import (
    BEGINNING,
    Held,
    Hold,
    Keeping,
    Link,
    Mark,
    Release,
    Restamp,
    Take,
    Taken,
    UpstreamState,
    passed,
)
from everlog.errors import (
    CursorMoved,
    EverlogError,
    IdConflict,
    LogDiverged,
    OutcomeUnknown,
    TransportFailed,
    UpstreamFault,
    WrongVersion,
)
from everlog.ports.seams import Seams
from everlog.ports.upstreams import Offers
from everlog.store.verifying import verify
from everlog.sync import edge as edge_module
from everlog.sync.deciding import check_piece
from everlog.sync.edge import ALL, Edge
from everlog.sync.forwarding import Forwarding, Line
from everlog.sync.hub import Hub
from everlog.wire.messages import Asked, Forked, Hello, Made, Offer, Pulled, Pushed, Scope, Welcome
from everlog.wire.transport import Transport

_ids = itertools.count()


def event(stream: str, text: str, *, expect: Expectation = ANY) -> NewEvent:
    return NewEvent(
        f"e{next(_ids)}",
        stream,
        "noted",
        1,
        "noted",
        f'"{text}"',
        "null",
        "c",
        None,
        b"n" * 32,
        expect,
    )


class Site:
    """A ledger in memory, with what an edge and a hub need of a store."""

    def __init__(self, now_ms: Callable[[], int] = lambda: 1_000_000) -> None:
        self.seams = Seams(now_ms=now_ms)
        self.ledger = MemoryLedger(seams=self.seams)

    async def take_in(self, request: Take) -> Taken:
        [outcome] = await self.ledger.commit([request])
        if isinstance(outcome, EverlogError):
            raise outcome
        assert isinstance(outcome, Taken)
        return outcome

    async def keep(self, request: Keeping | Restamp) -> int:
        [outcome] = await self.ledger.commit([request])
        if isinstance(outcome, EverlogError):
            raise outcome
        assert isinstance(outcome, int)
        return outcome

    async def _append(self, request: Append) -> Sequence[StoredRecord]:
        [outcome] = await self.ledger.commit([request])
        if isinstance(outcome, EverlogError):
            raise outcome
        assert isinstance(outcome, Placed)
        return outcome.records

    def hub(self, secret: bytes | None = None, strict: tuple[str, ...] = ()) -> Hub:
        return Hub(
            self.ledger,
            self.take_in,
            self.keep,
            self.seams,
            secret=secret,
            strict=strict,
            append=self._append,
        )

    def edge(self, hub: Transport, piece: int = 3, scope: Scope = ALL) -> Edge:
        return Edge(self.ledger, self.take_in, self.keep, hub, self.seams, piece=piece, scope=scope)

    async def append(self, stream: str, *texts: str) -> None:
        await self._append(Append(tuple(event(stream, text) for text in texts)))

    async def texts(self, stream: str) -> list[str]:
        """What folds have of a stream, in the order of positions."""
        page = await self.ledger.read(Selection(streams=(stream,)))
        unfolded = self.ledger._tables.unfolded
        return [each.data.strip('"') for each in page.records if each.id not in unfolded]

    def ids(self) -> list[str]:
        return sorted(self.ledger._tables.by_id)


async def until_in_step(*edges: Edge) -> int:
    for count in range(1, 20):
        rounds = [await edge.round() for edge in edges]
        if all(each.in_step and not each.new and not each.pushed for each in rounds):
            return count
    raise AssertionError("never in step")


def test_what_was_written_anywhere_is_everywhere() -> None:
    async def main() -> None:
        hub, one, two = Site(), Site(), Site()
        await hub.append("a", "1", "2")
        await one.append("a", *"abcdefgh")
        await two.append("b", *"xyz")
        await until_in_step(one.edge(hub.hub()), two.edge(hub.hub()))
        assert hub.ids() == one.ids() == two.ids()
        assert len(hub.ids()) == 13

    asyncio.run(main())


def test_a_hub_that_has_lost_its_tail_gets_it_back() -> None:
    async def main() -> None:
        hub, one, two = Site(), Site(), Site()
        await one.append("a", *"abcdefgh")
        edges = one.edge(hub.hub()), two.edge(hub.hub())
        await until_in_step(*edges)
        backup = copy.deepcopy(hub.ledger._tables)
        await two.append("b", *"ijklmnop")
        await until_in_step(*edges)
        everything = hub.ids()
        hub.ledger._tables = backup
        await hub.append("c", "new")
        await until_in_step(*edges)
        assert hub.ids() == one.ids() == two.ids()
        assert {*everything} < {*hub.ids()}

    asyncio.run(main())


def test_a_ledger_that_was_given_back_what_it_forgot_is_sound() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        await one.append("a", "1", "2")
        backup = copy.deepcopy(one.ledger._tables)
        await one.append("a", "3")
        await until_in_step(one.edge(hub.hub()))
        one.ledger._tables = backup
        await until_in_step(one.edge(hub.hub()))
        [record] = await one.ledger.find([hub.ids()[-1]])
        assert record is not None
        assert record.flags & RETURNED
        verification = await verify(one.ledger, None)
        assert verification.problems == ()

    asyncio.run(main())


class Interrupted:
    """A hub whose next answer to a pull comes only when something else has happened."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.meanwhile: Callable[[], Awaitable[None]] | None = None

    async def hello(self, hello: Hello) -> Welcome:
        return await self._hub.hello(hello)

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        answer = await self._hub.pull(asked, size=size)
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return answer

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        return await self._hub.push(asked, offers)

    async def append(self, hub: str, request: Append) -> Made:
        raise AssertionError("a round appends nothing")

    async def wait(self, position: int, *, timeout_s: float) -> int:
        return await self._hub.wait(position, timeout_s=timeout_s)


class OnlyPulls(Interrupted):
    """A hub that is cut off after so many pushes."""

    def __init__(self, hub: Hub, pushes: int = 0) -> None:
        super().__init__(hub)
        self._left = pushes

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        if not self._left:
            raise TransportFailed("cut off")
        self._left -= 1
        return await super().push(asked, offers)


def test_what_one_process_has_noted_does_not_hold_where_another_has_gone_back() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        before = copy.deepcopy(hub.ledger._tables)
        line = Interrupted(hub.hub())
        edge = Edge(one.ledger, one.take_in, one.keep, line, one.seams)
        await one.append("a", "1", "2", "3")
        await until_in_step(edge)
        await hub.append("b", "of the history that is lost")

        async def meanwhile() -> None:
            hub.ledger._tables = before
            await hub.append("c", "of the new one")
            line = OnlyPulls(hub.hub())
            another = Edge(one.ledger, one.take_in, one.keep, line, one.seams)
            with pytest.raises(TransportFailed):
                await another.round()

        line.meanwhile = meanwhile
        await until_in_step(edge)
        assert set(one.ids()) == set(hub.ids())

    asyncio.run(main())


def test_who_has_another_scope_goes_back_once_whichever_process_sees_it_first() -> None:
    """A second time the ledger would stand where it stood, and the first one would not see it."""

    async def main() -> None:
        hub, one = Site(), Site()
        await hub.ledger.commit([Relate(add=(("mine", "a"),))])
        await hub.append("a", "1")
        await one.append("b", "not in it")
        line = OnlyPulls(hub.hub())
        edge, another = (
            Edge(one.ledger, one.take_in, one.keep, each, one.seams, scope=Scope(relation="mine"))
            for each in (hub.hub(), line)
        )
        await until_in_step(edge)
        await hub.append("a", "2")
        with suppress(TransportFailed):
            await another.round()  # it stands where the first one does
        await hub.ledger.commit([Relate(add=(("mine", "c"),))])
        await until_in_step(edge)
        with suppress(TransportFailed):
            await another.round()
        assert (await edge.round()).in_step
        found = await one.ledger.upstreams.unconfirmed(hub.ledger.identity.ledger, after=0, size=9)
        assert [each.record.id for each in found.records] == []

    asyncio.run(main())


class Counting(Interrupted):
    """A hub at which something happens behind the second answer to a pull."""

    def __init__(self, hub: Hub, then: Callable[[], Awaitable[None]]) -> None:
        super().__init__(hub)
        self._then = then
        self._pulls = 0

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        self._pulls += 1
        self.meanwhile = self._then if self._pulls == 2 else None
        return await super().pull(asked, size=size)


def test_who_has_read_a_scope_that_changed_meanwhile_is_not_in_step_with_it() -> None:
    async def main() -> None:
        hub, one = Site(), Site()

        async def enters(stream: str) -> None:
            await hub.ledger.commit([Relate(add=(("mine", stream),))])

        await enters("a")
        await hub.append("a", "1", "2", "3")
        await hub.append("b", "4")
        scope = Scope(relation="mine")
        await until_in_step(one.edge(hub.hub(), scope=scope))
        await enters("c")  # so that all of it is read again
        edge = one.edge(Counting(hub.hub(), lambda: enters("b")), piece=1, scope=scope)
        assert not (await edge.round()).in_step
        assert (await edge.round()).in_step
        assert await one.texts("b") == ["4"]

    asyncio.run(main())


class LookedUpstreams(MemoryUpstreams):
    """What a ledger has yet to push; something happens before it is looked for."""

    meanwhile: Callable[[], Awaitable[None]] | None = None
    after_looks = 0
    """So many looks come before that."""

    @property
    def is_over(self) -> bool:
        """Whether it has happened."""
        return self.meanwhile is None

    async def unconfirmed(self, upstream: str, *, after: int, size: int) -> Offers:
        meanwhile = self.meanwhile
        if meanwhile is not None and not self.after_looks:
            self.meanwhile = None
            await meanwhile()
        self.after_looks -= meanwhile is not None and self.after_looks > 0
        return await super().unconfirmed(upstream, after=after, size=size)


class Looked(MemoryLedger):
    """The ledger of a site."""

    def __init__(self, site: Site) -> None:
        super().__init__(seams=site.seams)
        self._identity, self._tables = site.ledger._identity, site.ledger._tables
        self._upstreams = LookedUpstreams(lambda: self._tables)

    @property
    def upstreams(self) -> LookedUpstreams:
        return self._upstreams


def test_what_another_process_has_pushed_and_the_hub_has_lost_comes_first_again() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        before = copy.deepcopy(hub.ledger._tables)
        looked = Looked(one)
        edge = Edge(looked, one.take_in, one.keep, hub.hub(), one.seams)
        await until_in_step(edge)
        await one.append("a", "1", "2", "3")

        async def meanwhile() -> None:
            cut_off = OnlyPulls(hub.hub(), pushes=1)
            another = Edge(one.ledger, one.take_in, one.keep, cut_off, one.seams, piece=1)
            with pytest.raises(TransportFailed):
                await another.round()
            hub.ledger._tables = before

        looked.upstreams.meanwhile = meanwhile
        await until_in_step(edge)
        assert looked.upstreams.is_over
        page = await hub.ledger.read(Selection())
        assert [record.data for record in page.records] == ['"1"', '"2"', '"3"']

    asyncio.run(main())


def test_in_step_is_not_said_of_a_place_that_another_process_has_passed() -> None:
    """The hub was set back to just where this one stands, and nobody else was there again."""

    async def main() -> None:
        hub, one = Site(), Site()
        await hub.append("a", "1")
        edge, another = one.edge(hub.hub()), one.edge(hub.hub())
        await until_in_step(edge)
        before = copy.deepcopy(hub.ledger._tables)
        await hub.append("a", "2")
        await until_in_step(another)
        hub.ledger._tables = before
        await until_in_step(edge)
        assert await hub.texts("a") == ["1", "2"]

    asyncio.run(main())


def test_a_ledger_does_not_go_back_to_an_epoch_that_another_process_has_left() -> None:
    old = UpstreamState("a", "old")
    state = passed(old, Link("a", "new", BEGINNING, BEGINNING))
    assert (state.epoch, state.past) == ("new", ("old",))
    for epoch in ("new", "newer"):
        assert passed(state, Link("a", epoch, BEGINNING, BEGINNING)).epoch == epoch
    with pytest.raises(CursorMoved):
        passed(state, Link("a", "old", BEGINNING, BEGINNING))


def test_what_another_process_has_released_comes_before_what_is_behind_it() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        edge = one.edge(hub.hub())
        await until_in_step(edge)
        await one.append("a", "1")
        held = Held(one.ids()[0], "a", "rejected", "no", since_ms=0)
        await one.keep(Hold(hub.ledger.identity.ledger, (held,)))
        await until_in_step(edge)
        assert hub.ids() == []
        await one.keep(Release(hub.ledger.identity.ledger))
        await one.append("a", "2")
        await until_in_step(edge)
        assert await hub.texts("a") == ["1", "2"]

    asyncio.run(main())


def test_who_has_something_that_was_released_in_the_end_is_not_in_step() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        looked = Looked(one)
        edge = Edge(looked, one.take_in, one.keep, hub.hub(), one.seams)
        await until_in_step(edge)
        await one.append("a", "1")
        upstream = hub.ledger.identity.ledger
        held = Held(one.ids()[0], "a", "rejected", "no", since_ms=0)
        await one.keep(Hold(upstream, (held,)))

        async def release() -> None:
            await one.keep(Release(upstream))

        # It has looked for what is to be pushed, and found nothing.
        looked.upstreams.meanwhile, looked.upstreams.after_looks = release, 1
        assert not (await edge.round()).in_step
        assert looked.upstreams.is_over
        assert (await edge.round()).in_step
        assert await hub.texts("a") == ["1"]

    asyncio.run(main())


class SetBackAfterPush(Interrupted):
    """A hub that something happens to between the answer to a push and what comes next."""

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        answer = await super().push(asked, offers)
        pushed, self.pushed = self.pushed, None
        if pushed is not None:
            await pushed()
        return answer

    pushed: Callable[[], Awaitable[None]] | None = None


def test_what_is_not_wanted_is_confirmed_in_the_history_that_has_it() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        before = copy.deepcopy(hub.ledger._tables)
        line = SetBackAfterPush(hub.hub())

        async def set_back() -> None:
            hub.ledger._tables = before
            await hub.append("b", "where the other one was")

        line.pushed = set_back
        await one.append("a", "not wanted here")
        await until_in_step(one.edge(line, scope=Scope(prefix="b")))
        assert await hub.texts("a") == ["not wanted here"]

    asyncio.run(main())


class AnswersLate(Interrupted):
    """A hub whose first answer to a push comes when the second is waited for."""

    _first: Pushed | Forked | None = None
    _pushes = 0

    async def push(self, asked: Asked, offers: Sequence[Offer]) -> Pushed | Forked:
        self._pushes += 1
        if self._pushes == 1:
            self._first = await super().push(asked, offers)
            raise TransportFailed("no answer")
        if self._pushes == 2:
            assert self._first is not None
            return self._first
        return await super().push(asked, offers)


def test_a_late_answer_to_a_push_is_not_taken_for_one_of_the_history_of_today() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        before = copy.deepcopy(hub.ledger._tables)
        edge = one.edge(AnswersLate(hub.hub()), scope=Scope(prefix="b"))
        await one.append("a", "not wanted here")
        with pytest.raises(TransportFailed):
            await edge.round()
        hub.ledger._tables = before
        await hub.append("b", "where the other one was")
        with pytest.raises(UpstreamFault, match="a push from position 0, "):
            await edge.round()
        await until_in_step(edge)
        assert await hub.texts("a") == ["not wanted here"]

    asyncio.run(main())


def test_what_is_of_another_type_than_is_wanted_is_handed_in_and_does_not_come_back() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        await hub.append("a", "of the type that is here")
        await one.append("a", "handed in")
        await until_in_step(one.edge(hub.hub(), scope=Scope(prefix="a", types=("none here",))))
        assert await hub.texts("a") == ["of the type that is here", "handed in"]
        assert await one.texts("a") == ["handed in"]

    asyncio.run(main())


def line_to(
    hub: Site,
    one: Site,
    scope: Scope = ALL,
    meanwhile: Sequence[Callable[[], Awaitable[None]]] = (),
    *,
    by: Transport | None = None,
) -> Forwarding:
    """Returns what appends at a hub, by which an edge is in step.

    `meanwhile`: what happens between an append and that; `by`: the way to it, if it is not direct.
    """
    transport = by or hub.hub(strict=("k",))
    edge = one.edge(transport, scope=scope)

    async def in_step() -> None:
        for each in meanwhile:
            await each()
        await until_in_step(edge)

    forwarding = Forwarding(one.ledger)
    forwarding.connect(hub.ledger.identity.ledger, Line(transport, in_step, scope))
    return forwarding


def test_versions_are_those_of_the_history_that_the_hub_has() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        there = hub.ledger.identity.ledger
        forwarding = line_to(hub, one)
        await forwarding.append(there, Append((event("k", "1"),)))
        backup = copy.deepcopy(hub.ledger._tables)
        await forwarding.append(there, Append((event("k", "lost", expect=1),)))
        hub.ledger._tables = backup
        await hub.append("k", "in its place")
        # Both have two events, and not the same ones: who has read "lost" decides again.
        with pytest.raises(WrongVersion):
            await forwarding.append(there, Append((event("k", "behind lost", expect=2),)))
        # By now what there is has come.
        assert await one.texts("k") == await hub.texts("k") == ["1", "in its place"]
        newest = (await one.ledger.read(Selection(streams=("k",)))).records[-1]
        await forwarding.append(there, Append((event("k", "2", expect=newest.version),)))
        assert await one.texts("k") == await hub.texts("k") == ["1", "in its place", "2"]

    asyncio.run(main())


@pytest.mark.parametrize(
    "scope",
    [Scope(relation="mine"), Scope(prefix="k"), ALL],
    ids=["relation", "prefix", "all"],
)
def test_nobody_is_told_that_he_has_appended_what_the_hub_has_lost_before_it_came(
    scope: Scope,
) -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        there = hub.ledger.identity.ledger
        await hub.ledger.commit([Relate(add=(("mine", "k"),))])
        meanwhile: list[Callable[[], Awaitable[None]]] = []
        forwarding = line_to(hub, one, scope, meanwhile)
        await forwarding.append(there, Append((event("k", "1"),)))
        backup = copy.deepcopy(hub.ledger._tables)
        lost = event("k", "lost", expect=1)

        async def set_back() -> None:
            hub.ledger._tables = copy.deepcopy(backup)

        meanwhile.append(set_back)
        with pytest.raises(OutcomeUnknown):
            await forwarding.append(there, Append((lost,)))
        meanwhile.clear()
        assert await one.texts("k") == await hub.texts("k") == ["1"]
        [record] = await forwarding.append(there, Append((lost,)))
        assert (record.id, record.version) == (lost.id, 2)
        assert await one.texts("k") == await hub.texts("k") == ["1", "lost"]

    asyncio.run(main())


class AnswersAppendsLate(Interrupted):
    """A hub whose answers to appends are those to the one before, if there was one."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub)
        self.is_late = False
        self._made: Made | None = None

    async def append(self, hub: str, request: Append) -> Made:
        before = self._made
        with suppress(LogDiverged):
            self._made = await self._hub.append(hub, request)
        made = before if self.is_late else self._made
        assert made is not None
        return made


def test_a_late_answer_to_an_append_says_nothing_of_another_history() -> None:
    """What it tells of was lost before it came, and whoever asks again is to be told so."""

    async def main() -> None:
        hub, one = Site(), Site()
        there = hub.ledger.identity.ledger
        meanwhile: list[Callable[[], Awaitable[None]]] = []
        late = AnswersAppendsLate(hub.hub(strict=("k",)))
        forwarding = line_to(hub, one, Scope(relation="mine"), meanwhile, by=late)
        backup = copy.deepcopy(hub.ledger._tables)

        async def set_back() -> None:
            hub.ledger._tables = copy.deepcopy(backup)
            late.is_late = True

        meanwhile.append(set_back)
        lost = event("k", "lost")
        with pytest.raises(OutcomeUnknown):
            await forwarding.append(there, Append((lost,)))
        meanwhile.clear()
        late.is_late = False
        [record] = await forwarding.append(there, Append((lost,)))
        assert (record.id, record.version) == (lost.id, 1)
        assert await hub.texts("k") == ["lost"]

    asyncio.run(main())


def test_what_is_appended_outside_of_a_relation_is_told_as_the_hub_has_it() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        there = hub.ledger.identity.ledger
        meanwhile: list[Callable[[], Awaitable[None]]] = []
        forwarding = line_to(hub, one, Scope(relation="mine"), meanwhile)
        first, second = event("k", "1"), event("k", "2")
        [record] = await forwarding.append(there, Append((first,)))
        assert (record.id, record.position, record.version) == (first.id, 1, 1)
        # Also what others append behind it takes nothing from that.
        meanwhile.append(lambda: hub.append("k", "3"))
        [record] = await forwarding.append(there, Append((second,)))
        assert (record.id, record.position, record.version) == (second.id, 2, 2)
        assert await one.texts("k") == []
        assert await hub.texts("k") == ["1", "2", "3"]

    asyncio.run(main())


@pytest.mark.parametrize("made", [True, False], ids=["made", "not made"])
def test_a_retry_of_what_the_hub_has_and_does_not_give_any_more_is_no_conflict(made: bool) -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        there = hub.ledger.identity.ledger
        await hub.ledger.commit([Relate(add=(("mine", "k"),))])
        forwarding = line_to(hub, one, Scope(relation="mine"))
        await forwarding.append(there, Append((event("k", "1"),)))
        second = event("k", "2", expect=1)
        if made:  # and whoever has asked for it does not hear of that
            await hub.hub(strict=("k",)).append(there, Append((second,)))
        await hub.ledger.commit([Relate(remove=(("mine", "k"),))])
        await until_in_step(one.edge(hub.hub(strict=("k",)), scope=Scope(relation="mine")))
        again = forwarding.append(there, Append((second,)))
        if made:
            [record] = await again
            assert (record.id, record.version) == (second.id, 2)
        else:
            with pytest.raises(WrongVersion):
                await again
        assert await hub.texts("k") == ["1", "2"][: 1 + made]

    asyncio.run(main())


def test_a_retry_of_what_is_here_is_answered_from_here() -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        there = hub.ledger.identity.ledger
        first, second = event("k", "1"), event("k", "2", expect=1)
        forwarding = line_to(hub, one)
        await forwarding.append(there, Append((first,)))
        backup = copy.deepcopy(hub.ledger._tables)
        await forwarding.append(there, Append((second,)))
        hub.ledger._tables = backup
        off_line = Forwarding(one.ledger)
        for each in (forwarding, off_line):
            [record] = await each.append(there, Append((second,)))
            assert record.id == second.id
        with pytest.raises(IdConflict):
            await forwarding.append(there, Append((second._replace(data="3"),)))
        assert await hub.texts("k") == ["1"]
        await until_in_step(one.edge(hub.hub(strict=("k",))))
        assert await hub.texts("k") == ["1", "2"]

    asyncio.run(main())


class Foreseen:
    """A hub whose answers are shown to the edge before it pulls them; or others in their place."""

    def __init__(self, hub: Hub, shown: Callable[[Asked, Pulled], tuple[Asked, Pulled]]) -> None:
        self._hub = hub
        self._shown = shown
        self.wait, self.append, self.push, self.hello = hub.wait, hub.append, hub.push, hub.hello
        self.seen = 0

    def show_to(self, look: Callable[[Asked, Pulled], None]) -> None:
        self._look = look

    async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
        answer = await self._hub.pull(asked, size=size)
        if isinstance(answer, Pulled):
            self._look(*self._shown(asked, answer))
            self.seen += 1
        return answer


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Mark]:
    """Returns where pieces begin that are checked from now on."""
    begun: list[Mark] = []

    def check(pulled: Pulled, cursor: Mark, *, sparse: bool = False) -> None:
        begun.append(cursor)
        check_piece(pulled, cursor, sparse=sparse)

    monkeypatch.setattr(edge_module, "check_piece", check)
    return begun


def test_a_piece_that_was_checked_before_it_came_is_not_checked_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        await hub.append("a", *"abcdefgh")
        begun = counted(monkeypatch)
        there = Foreseen(hub.hub(), lambda asked, pulled: (asked, pulled))
        await one.edge(there).round()
        assert one.ids() == hub.ids()
        assert len(begun) == there.seen > 2

    asyncio.run(main())


SHOWN: dict[str, Callable[[Asked, Pulled], tuple[Asked, Pulled]]] = {
    "another piece, as good": lambda asked, pulled: (asked, pulled._replace(stable=pulled.stable)),
    "another place": lambda asked, pulled: (asked._replace(marks=(Mark(7, bytes(32)),)), pulled),
    "another scope": lambda asked, pulled: (asked._replace(scope=Scope(prefix="x")), pulled),
}


@pytest.mark.parametrize("shown", SHOWN)
def test_only_the_very_piece_that_was_checked_counts_as_such(
    shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        hub, one = Site(), Site()
        await hub.append("a", *"abcdefgh")
        begun = counted(monkeypatch)
        there = Foreseen(hub.hub(), SHOWN[shown])
        await one.edge(there).round()
        assert one.ids() == hub.ids()
        assert len(begun) == 2 * there.seen

    asyncio.run(main())


def test_what_was_checked_for_one_place_is_checked_again_at_another() -> None:
    class Stale(Foreseen):
        first: Pulled | None = None

        async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
            answer = await super().pull(asked, size=size)
            assert isinstance(answer, Pulled)
            if self.first is None:
                self.first = answer
                return answer
            assert self.seen < 5, "it was believed, and is asked for again and again"
            self._look(asked._replace(marks=(BEGINNING,)), self.first)
            return self.first

    async def main() -> None:
        hub, one = Site(), Site()
        await hub.append("a", *"abcdefgh")
        with pytest.raises(UpstreamFault, match="more behind position 3"):
            await one.edge(Stale(hub.hub(), lambda asked, pulled: (asked, pulled))).round()

    asyncio.run(main())


def test_what_is_wrong_with_a_piece_is_said_when_it_comes_and_not_when_it_is_seen() -> None:
    class Lying(Hub):
        async def pull(self, asked: Asked, *, size: int) -> Pulled | Forked:
            answer = await super().pull(asked, size=size)
            assert isinstance(answer, Pulled)
            first, *rest = answer.records
            return answer._replace(records=(first._replace(data='"other"'), *rest))

    async def main() -> None:
        hub, one = Site(), Site()
        await hub.append("a", *"abcdefgh")
        lying = Lying(hub.ledger, hub.take_in, hub.keep, hub.seams)
        there = Foreseen(lying, lambda asked, pulled: (asked, pulled))
        with pytest.raises(UpstreamFault, match="damaged"):
            await one.edge(there).round()
        assert there.seen == 1
        assert one.ids() == []

    asyncio.run(main())
