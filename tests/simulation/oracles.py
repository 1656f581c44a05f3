"""Oracles: what must hold when all is in step."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from everlog.core.aliases import event_of, first_id
from everlog.core.chain import ORPHAN, OUTDATED, RESTAMPED
from everlog.core.record import StoredRecord
from everlog.store.verifying import verify
from tests.simulation.effects import CLASHING, PAID
from tests.simulation.site import Site
from tests.simulation.strict import STREAMS
from tests.simulation.world import HUB, World


async def judge(world: World, there: set[str]) -> None:
    """Notes every property that does not hold. `there`: ids that were anywhere at the end."""
    _same_ids(world, there)
    _purged(world)
    _same_folds(world)
    _one_row_per_id(world)
    _orders(world)
    _outdated(world)
    _effects(world, there)
    _handled(world)
    _copies(world)
    await _chains(world)
    await _strict(world)


def _same_ids(world: World, there: set[str]) -> None:
    """S1 and S2."""
    first_id = world.history.first_id
    union = {first_id(id) for id in there} & world.history.born.keys()
    for site in world.sites:
        ids = [
            first_id(each.id)
            for each in site.counting
            if each.stream != CLASHING and not each.is_tombstone
        ]
        has = {*ids}
        if len(has) < len(ids):
            world.violated(f"S3 {site.name} has an event twice, by two ids")
        own = site.ledger.identity.ledger
        for record in site.records:
            covers = site.covers(record.stream)
            if covers and record.is_tombstone and record.id not in site.replaced:
                world.violated(f"S9 {site.name} has {record.id} without its content")
            if not covers and record.stream != CLASHING:
                world.counts["own event out of the scope"] += 1
                if not record.is_tombstone or not (
                    record.origin == own or site.may_keep(record.stream)
                ):
                    world.violated(f"S9 {site.name} has {record.id}, which it does not want")
        for id, by in site.replaced.items():
            if by not in site.ledger.tables.by_id:
                world.violated(f"S2 {site.name} has {id} replaced by {by}, which it has not")
        wanted = {id for id in union if site.covers(world.history.born[id].stream)}
        if missing := wanted - has:
            world.violated(f"S2 {site.name} has lost {sorted(missing)}")
        if extra := has - union:
            world.violated(f"S1 {site.name} has {sorted(extra)}, which were nowhere")


def _purged(world: World) -> None:
    """S2: what was let go on a hub's word is at the hub."""
    hub = world.addresses[HUB].ledger.tables.by_id
    for id in sorted(world.purged):
        if id not in hub or hub[id].is_tombstone:
            world.violated(f"S2 {id} was let go, and the hub has lost it")


def _same_folds(world: World) -> None:
    """S1."""
    streams = {stream for site in world.sites for stream in site.streams} - {CLASHING}
    for stream in sorted(streams):
        there = [site for site in world.sites if site.covers(stream)]
        states = {world.fold(site, stream) for site in there}
        if len(states) > 1:
            world.violated(f"S1 {stream} has {len(states)} states")
        hashes = {
            tuple(sorted(each.hash for each in site.counting if each.stream == stream))
            for site in there
        }
        if len(hashes) > 1:
            world.violated(f"S1 {stream} differs in its content")


def _one_row_per_id(world: World) -> None:
    """S3."""
    for site in world.sites:
        ids = [record.id for record in site.records]
        if len(ids) != len(set(ids)):
            world.violated(f"S3 {site.name} has an event twice")


def _orders(world: World) -> None:
    """S5: everywhere, what was born after another of its origin stands behind it.

    But for what two copies of a ledger have each stamped anew: which of the two records counts is
    seen when they meet, and whoever knew the other one has it where it came. A hub that has lost
    both is given it from there: behind its younger ones, and as outdated.
    """
    stamped = defaultdict[str, set[str]](set)
    for site in world.sites:
        for each in site.records:
            if each.flags & RESTAMPED:
                stamped[world.history.first_id(each.id)].add(each.id)
    for site in world.sites:
        places: dict[str, int] = {}
        for each in site.records:  # by whichever record an event came first
            places.setdefault(world.history.first_id(each.id), each.position)
        for born in world.history.born.values():
            if born.id not in places:
                continue
            # Where clocks are wrong, one that is set aside lets other streams pass.
            # Where one has a part, it gives that back to a hub before others give the rest.
            alone = world.options.skew or world.options.scoped
            before = born.after_in_stream if alone else born.after
            if before is None or len(stamped[before]) > 1:
                continue
            if before in places and places[before] > places[born.id]:
                world.violated(f"S5 {site.name} has {born.id} before {before}, its elder")


def _outdated(world: World) -> None:
    """What came behind a newer one of its register says so."""
    for site in world.sites:
        before: dict[tuple[str, str], list[StoredRecord]] = {}
        for record in site.records:
            others = before.setdefault((record.stream, record.register), [])
            newer = [each for each in others if each.order > record.order]
            must, may = _counted(site, newer, record.position)
            says = bool(record.flags & OUTDATED)
            if says < must or says > may:
                world.violated(f"S5 {site.name}, {record.id}: outdated is wrong")
            others.append(record)


def _counted(site: Site, records: list[StoredRecord], at: int) -> tuple[bool, bool]:
    """Returns whether one of the records counted for sure at a position, and whether one may have.

    One that is replaced does not count from the commit on in which that came about; what else came
    with that is not known. Nor when one became an orphan, or ceased to be one.
    """
    tables = site.ledger.tables
    anew = site.records[at - 1].flags & RESTAMPED  # with others, which it does not count
    must = may = False
    for each in records:
        if each.id in site.world.strict.orphaned:
            may = True
            continue
        ids = tables.aliases.get(first_id(each), []) if each.id in site.replaced else []
        others = [tables.by_id[id] for id in {*ids, first_id(each)} & tables.by_id.keys()]
        # Where ids clash, another ledger's event may have been born under the same one.
        own = [other for other in others if event_of(other) == event_of(each)]
        earlier = [other.position for other in own if other.order < each.order]
        must |= not earlier or (min(earlier) > at and not anew)
        may |= not earlier or min(earlier) > each.position
    return must, may


def _effects(world: World, there: set[str]) -> None:
    """S6."""
    hub = world.addresses[HUB]
    for record in hub.records:
        if record.type == PAID and record.id in there and record.stream != CLASHING:
            first = world.history.first_id(record.id)
            if not world.receiver.events[first]:
                world.violated(f"S6 the effect of {record.id} has not happened")
    for first, keys in world.receiver.events.items():
        if len(keys) > 1:
            world.violated(f"S6 the effect of {first} has happened {len(keys)} times")


def _handled(world: World) -> None:
    """S3: what runs for every event has run for each, once, by one id."""
    for site in world.sites:
        ids = [world.history.first_id(id) for id in site.book.handled]
        if len(ids) != len({*ids}):
            world.violated(f"S3 handlers of {site.name} have had an event by two ids")
        there = [
            each.id for each in site.records if each.stream != CLASHING and not each.flags & ORPHAN
        ]
        if missing := {world.history.first_id(id) for id in there} - {*ids}:
            world.violated(f"S3 handlers of {site.name} have not had {sorted(missing)}")


async def _strict(world: World) -> None:
    """S4: every ledger has the same events in the same places, and shows what has none."""
    if not world.options.strict:
        return
    hub = world.addresses[HUB]
    for stream in STREAMS:
        folded = hub.folded(stream)
        versions = [each.version for each in folded]
        if versions != [*range(1, len(folded) + 1)]:
            world.violated(f"S4 {stream} has versions {versions}")
        for each in folded:
            if each.version != world.strict.versions[each.id]:
                world.violated(f"S4 {each.id} has another version than it was appended with")
        ids = {each.id for each in folded}
        orphans = {each.id for each in hub.records if each.stream == stream} - ids
        for site in [site for site in world.sites if site.covers(stream)]:
            state = world.fold(site, stream)
            if {each.split(":")[0] for each in state.split(";") if each} != ids:
                world.violated(f"S4 {stream} is folded as {state} at {site.name}")
            if {each.id for each in site.folded(stream)} != ids:
                world.violated(f"S4 {stream} is another one at {site.name}")
            shown = await site.ledger.upstreams.orphans(after=0, size=1_000)
            if {each.id for each in shown if each.stream == stream} != orphans:
                world.violated(f"S4 {site.name} does not show the orphans of {stream}")
            world.counts["strict: orphan shown"] += len(orphans)


def _copies(world: World) -> None:
    """What an edge has noted of its hub's history is that history."""
    for site in world.sites:
        if site.upstream is None:
            continue
        hub = world.addresses[site.upstream]
        copy = site.ledger.tables.copies.get(hub.ledger.identity.ledger)
        noted = {} if copy is None else copy.entries
        found = {each.position: (each.id, each.version, each.flags) for each in noted.values()}
        wanted = {
            each.position: (each.id, 0 if each.flags & ORPHAN else each.version, each.flags)
            for each in hub.records
            if each.stream != CLASHING and site.covers(each.stream)
        }
        # Of what is not given it is only known where it stands.
        places = {each.position: each.id for each in hub.records if not site.covers(each.stream)}
        for place, id in places.items():
            if place in found and found.pop(place)[0] != id:
                world.violated(f"S9 {site.name} takes another record for the one at {place}")
        clashing = {each.position for each in hub.records if each.stream == CLASHING}
        if {place: row for place, row in found.items() if place not in {None, *clashing}} != wanted:
            world.violated(f"S1 the copy of {hub.name}'s history in {site.name} is another")


async def _chains(world: World) -> None:
    """S8."""
    known: dict[tuple[int, bytes], bytes] = {}
    for site in [*world.sites, *world.left]:
        digest = b""
        for record in site.records:
            said = (digest, record.id, record.hash, record.version, record.flags)
            digest = hashlib.sha256(repr(said).encode()).digest()
            if known.setdefault((record.position, record.chain), digest) != digest:
                world.violated(f"S8 one chain, two histories, at {site.name} {record.position}")
        for problem in (await verify(site.ledger, None)).problems:
            world.violated(f"S8 {site.name}, position {problem.position}: {problem.what}")


def summary(violations: Iterable[str]) -> str:
    """Returns the first violations, a line each."""
    return "\n".join(f"  {each}" for each in [*violations][:8])
