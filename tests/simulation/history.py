"""History: what was born where, after what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from everlog.core.chain import RESTAMPED
from everlog.core.epoch import epoch_at
from everlog.core.record import StoredRecord
from everlog.core.sequencer import Append, NewEvent, Placed
from everlog.core.stream import ANY
from tests.simulation.disk import Backup
from tests.simulation.effects import CLASHING, PAID
from tests.simulation.tasks import at_once

if TYPE_CHECKING:
    from tests.simulation.site import Site
    from tests.simulation.world import World

REGISTERS = {"set": "a", "unset": "a", "noted": "noted", PAID: "b", "refunded": "b"}
"""Of each type."""


@dataclass(frozen=True, slots=True)
class Born:
    """Where an event was born."""

    id: str
    stream: str
    after: str | None
    """The last event of the same origin that was there."""
    after_in_stream: str | None
    """The last of them in its stream."""


@dataclass(slots=True)
class Elders:
    """What was there before."""

    newest: str
    """The greatest stamp."""
    clock_ms: int
    """Where the clock stood."""
    last: str | None
    """The last event of the same origin."""
    in_stream: dict[str, str]
    """The last of them in each stream."""


class History:
    """What programs append, and what they may expect of it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.born: dict[str, Born] = {}
        self._clashes = 0

    def append(self, site: Site) -> None:
        """Appends one to three events at a site."""
        world, random = self._world, self._world.random
        stream = f"s{random.randrange(4)}"
        count = random.choice([1, 1, 1, 2, 3])
        ids = [f"e{len(self.born) + number}" for number in range(count)]
        if world.chance(world.options.clash):
            stream, ids = CLASHING, [f"c{random.randrange(8)}"]
        new = tuple(self.event(id, stream) for id in ids)
        tables = site.ledger.tables
        elders = self.elders(site)
        if world.chance(0.3):
            expect = len(tables.by_stream.get(stream, []))
            new = (new[0]._replace(expect=expect), *new[1:])
        [outcome] = at_once(site.ledger.commit([Append(new)]))
        if not isinstance(outcome, Placed):
            if stream != CLASHING:
                world.violated(f"{site.name} refuses an append: {outcome!r}")
            return
        self.note_born(site, elders, outcome.new)

    def elders(self, site: Site) -> Elders:
        """Returns what is at a site before something is born there."""
        counting = site.counting
        newest = max((record.created for record in counting), default="")
        clock_ms = int(max(newest, _clock_since(site))[:12] or "0", 16)
        origin = site.ledger.identity.ledger
        own = [each for each in counting if each.origin == origin and each.stream != CLASHING]
        last = self.first_id(own[-1].id) if own else None
        return Elders(newest, clock_ms, last, {each.stream: self.first_id(each.id) for each in own})

    def note_born(
        self, site: Site, elders: Elders, records: Sequence[StoredRecord], *, observed: str = ""
    ) -> None:
        """Notes what was born at a site. `observed`: the stamp that its writer has read."""
        world, newest = self._world, max(elders.newest, observed)
        seen_ms = int(observed[:12] or "0", 16)
        for record in records:
            if record.created <= newest:
                world.violated(
                    f"S5 {record.id} is created at {record.created}, and {site.name} had {newest}"
                )
            latest_ms = max(site.seams.now_ms(), elders.clock_ms, seen_ms) + 1
            if int(record.created[:12], 16) > latest_ms:
                world.violated(f"S5 {site.name} stamps {record.id} ahead of its clock")
            newest, stream = record.created, record.stream
            if stream != CLASHING:
                before = (elders.last, elders.in_stream.get(stream))
                self.born[record.id] = Born(record.id, stream, *before)
                elders.last = elders.in_stream[stream] = record.id

    def first_id(self, id: str) -> str:
        """Returns the id under which an event was born, whatever it has got since."""
        return id.partition("@")[0]

    def event(self, id: str, stream: str) -> NewEvent:
        """Returns an event that can be appended."""
        random = self._world.random
        type = random.choice([*REGISTERS])
        data, nonce = f'"{random.randrange(1_000_000)}"', random.randbytes(32)
        register = REGISTERS[type]
        return NewEvent(id, stream, type, 1, register, data, "null", id, None, nonce, ANY)

    def renewed(self, backup: Backup) -> Backup:
        """Returns a backup under a new epoch."""
        world = self._world
        epoch = epoch_at(world.now_ms, world.random.randbytes(8), after=backup.identity.epoch)
        return replace(backup, identity=replace(backup.identity, epoch=epoch))


def _clock_since(site: Site) -> str:
    """Returns where the clock of a ledger stood last, since it was set back."""
    latest = ""
    for record in reversed(site.records):
        latest = max(latest, record.recorded)
        if record.flags & RESTAMPED:
            break
    return latest
