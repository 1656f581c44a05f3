"""Strict streams: what programs append to them, wherever they run, and what they are told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from everlog.core.chain import ORPHAN
from everlog.core.record import StoredRecord
from everlog.core.sequencer import Append, NewEvent, Placed
from everlog.core.stream import ANY, Expectation
from everlog.core.taking import Take, Taken
from everlog.errors import ClockAhead, EverlogError, Offline, WrongVersion
from tests.simulation.tasks import Task, at_once

if TYPE_CHECKING:
    from tests.simulation.loop import Loop
    from tests.simulation.site import Site
    from tests.simulation.world import World

PREFIX = "k"
"""How the names of the streams begin to which only the hub appends."""
STREAMS = ("k0", "k1")


@dataclass(eq=False)
class Attempt:
    """An append to a strict stream, and whatever came of it."""

    request: Append
    seen: dict[str, frozenset[str]]
    """Of each stream whose version is expected: the ids of what the program has seen of it."""
    task: Task | None = None
    site: Site | None = None
    """Where it was made last."""
    sent: int = 0
    """How often it was sent to a hub."""

    @property
    def ids(self) -> list[str]:
        """The ids of its events."""
        return [event.id for event in self.request.events]


@dataclass
class Strict:
    """What programs append to strict streams, and what may be expected of it."""

    world: World
    versions: dict[str, int] = field(default_factory=dict[str, int])
    """Of all that a hub has ever appended: the version that it had."""
    orphaned: set[str] = field(default_factory=set[str])
    """The ids of what was an orphan anywhere, at any time."""
    _attempts: dict[str, Attempt] = field(default_factory=dict[str, Attempt])
    """By the id of each event."""
    _open: dict[str, list[Attempt]] = field(default_factory=dict[str, list[Attempt]])
    """By site: of which it is not known what became."""

    def append(self, site: Site) -> None:
        """Appends at a site, or repeats what it has not heard of."""
        world = self.world
        if not site.loops:
            if site.upstream is None:
                self._append_here(site)
            return
        loop = world.random.choice(site.loops)
        if loop.forwarding.hub_of(STREAMS) is None:
            world.counts["strict: streams not known yet"] += 1
            return
        idle = [each for each in self._open.get(site.name, ()) if not _runs(each)]
        if idle and world.chance(0.6):
            world.counts["strict: append repeated"] += 1
            self.forward(site, loop, world.random.choice(idle))
            return
        self.forward(site, loop, self.attempt(site))

    def forget(self, site: Site) -> None:
        """A site was set back, and so were programs: versions they have read are of another log."""
        self._open.pop(site.name, None)

    def attempt(self, site: Site, *, of: Sequence[str] = (), expecting: float = 0.8) -> Attempt:
        """Returns an append that was not made yet: to these streams, or to any."""
        random, streams = self.world.random, [*of]
        if not streams:
            streams = random.choice([[random.choice(STREAMS)]] * 4 + [[*STREAMS]])
        events: list[NewEvent] = []
        seen: dict[str, frozenset[str]] = {}
        for stream in streams:
            expect: Expectation = ANY
            if self.world.chance(expecting):
                folded = site.folded(stream)
                seen[stream] = frozenset(each.id for each in folded)
                expect = max((each.version for each in folded), default=0)
            for number in range(random.choice([1, 1, 2])):
                id = f"k{len(self._attempts) + len(events)}e"
                event = self.world.history.event(id, stream)
                expected = expect + number if isinstance(expect, int) else expect
                events.append(event._replace(expect=expected))
        newest = max((record.created for record in site.counting), default="")
        attempt = Attempt(Append(tuple(events), (), newest), seen)
        self._attempts.update(dict.fromkeys(attempt.ids, attempt))
        return attempt

    def forward(self, site: Site, loop: Loop, attempt: Attempt) -> list[object]:
        """Has a program append at the hub; returns a list that gets what it is told."""
        hub, told = loop.forwarding.hub_of(STREAMS), list[object]()
        assert hub is not None
        known = {*attempt.ids} <= site.ledger.tables.by_id.keys()
        on_line, sent = loop.on_line is not None, attempt.sent

        def ended(result: object) -> None:
            told.append(result)
            if isinstance(result, Offline) == (on_line or known):
                self.world.violated(f"S4 {site.name} is told {result!r}, on line: {on_line}")
            self.world.counts["strict: answered off line"] += known and not on_line
            if not on_line and attempt.sent > sent:
                self.world.violated(f"S4 {site.name} is offline, and has sent {attempt.ids}")
            self._told(site, loop, attempt, result)

        coroutine = loop.forwarding.append(hub, attempt.request)
        attempt.site = site
        attempt.task = self.world.start(site, coroutine, ended)
        return told

    def _told(self, site: Site, loop: Loop, attempt: Attempt, result: object) -> None:
        world, unsure = self.world, self._open.setdefault(site.name, [])
        if isinstance(result, EverlogError):
            world.counts[f"strict: {type(result).__name__}"] += 1
        if isinstance(result, WrongVersion):
            self._refused(site, attempt)
        settled = not attempt.sent and isinstance(result, Offline | ClockAhead)
        if settled or isinstance(result, WrongVersion | list):
            if attempt in unsure:
                unsure.remove(attempt)
        elif attempt not in unsure:
            unsure.append(attempt)
        if isinstance(result, list):
            world.counts["strict: forwarded"] += 1
            self._answered(site, loop, attempt, cast("list[StoredRecord]", result))

    def _refused(self, site: Site, attempt: Attempt) -> None:
        """Who is told of a conflict decides again: what he has asked for must not be there."""
        hub = self.world.addresses["hub"]
        there = hub.ledger.tables.by_id.keys() & {*attempt.ids}
        if there and not self.world.left:
            self.world.violated(f"S4 {site.name} is told of a conflict, and {there} are there")

    def _answered(
        self, site: Site, loop: Loop, attempt: Attempt, records: Sequence[StoredRecord]
    ) -> None:
        events = attempt.request.events
        asked = [(each.id, each.stream, each.type, each.data, each.meta) for each in events]
        given = [(each.id, each.stream, each.type, each.data, each.meta) for each in records]
        if asked != given:
            self.world.violated(f"S4 {site.name} has appended {asked}, and is told {given}")
        for record in records:
            if record.id not in self.versions:
                self.world.violated(f"S4 {site.name} is told of {record.id}, which no hub has had")
            if record.id not in site.ledger.tables.by_id:
                # By what the hub gave to who waited for it: since then its stream may have entered
                # the relation, and in another hub than this one reaches it may never have left.
                if site.was_given(record.stream, loop.scope):
                    self.world.violated(f"S4 {site.name} is told of {record.id}, and has it not")
                self.world.counts["strict: forwarded out of the scope"] += 1
            if record.created <= attempt.request.observed:
                self.world.violated(f"S5 {record.id} is created before what its writer has read")

    def _append_here(self, hub: Site) -> None:
        attempt = self.attempt(hub)
        outcome = self._commit(hub, attempt.request)
        if not isinstance(outcome, Placed):
            self.world.violated(f"{hub.name} refuses an append: {outcome!r}")

    async def append_at(self, hub: Site, request: Append) -> Sequence[StoredRecord]:
        """Appends at a hub what one of its edges has asked for."""
        world = self.world
        await world.pause()
        outcome = self._commit(hub, request)
        await world.pause()
        if isinstance(outcome, EverlogError):
            raise outcome
        assert isinstance(outcome, Placed)
        return outcome.records

    def _commit(self, hub: Site, request: Append) -> object:
        world = self.world
        before = {stream: [each.id for each in hub.folded(stream)] for stream in STREAMS}
        elders = world.history.elders(hub)
        [outcome] = at_once(hub.ledger.commit([request]))
        new = outcome.new if isinstance(outcome, Placed) else ()
        world.history.note_born(hub, elders, new, observed=request.observed)
        if not new:
            world.counts["strict: append known at the hub"] += isinstance(outcome, Placed)
            return outcome
        attempt = self._attempts[new[0].id]
        for stream, seen in attempt.seen.items():
            # Of what was read, some may be known as orphans by now: the version stays what it was.
            unfolded = () if attempt.site is None else attempt.site.ledger.tables.unfolded
            there = frozenset(before[stream])
            if seen - {*unfolded} != there:
                world.violated(f"S4 {attempt.ids} were appended behind {there}, not {seen}")
        for record in new:
            before[record.stream].append(record.id)
            version = len(before[record.stream])
            if record.version != version:
                world.violated(f"S4 {record.id} has version {record.version}, not {version}")
            self.versions[record.id] = record.version
        return outcome

    def may_arrive(self, hub: Site, request: Append) -> bool:
        """Whether an append may be made at a hub, as far as ids go.

        What a hub has appended and lost, others may have. Appended once more it is another event
        under the same id, with another stamp: a hub that is set back knows nothing of it.
        """
        ids = {event.id for event in request.events}
        lost = ids & self.versions.keys() - hub.ledger.tables.by_id.keys()
        self.world.counts["strict: not repeated where it was lost"] += bool(lost)
        return not lost

    def note_sent(self, request: Append) -> None:
        """Notes that an append is on its way to a hub."""
        self._attempts[request.events[0].id].sent += 1

    def slots(self, site: Site, request: Take) -> dict[str, int]:
        """Returns the version that each of the strict streams in a request is at."""
        if request.link is not None:
            return {}
        return {stream: len(site.folded(stream)) for stream in STREAMS}

    def note_taken(self, site: Site, request: Take, taken: Taken, slots: dict[str, int]) -> None:
        """Looks at what a ledger has made of records of strict streams."""
        unfolded = site.ledger.tables.unfolded
        self.orphaned |= {id for id, by in unfolded.items() if by is None}
        if request.link is not None:
            return
        had = {
            record.id: version
            for record, version in zip(request.records, request.versions, strict=True)
        }
        for row in taken.new:
            if not row.stream.startswith(PREFIX):
                continue
            free = had[row.id] == slots[row.stream] + 1
            slots[row.stream] += free
            self.world.counts["strict: slot free" if free else "strict: slot taken"] += 1
            if free == (row.id in unfolded):
                self.world.violated(f"S4 {site.name} has {row.id}; its place is free: {free}")


def versions_of(records: Sequence[StoredRecord]) -> list[int | None]:
    """Returns the versions that a hub has given records, as an edge of it knows them."""
    return [None if record.flags & ORPHAN else record.version for record in records]


def _runs(attempt: Attempt) -> bool:
    return attempt.task is not None and attempt.task.alive
