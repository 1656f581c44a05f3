"""Settling: faults stop, and within a bounded number of rounds all must be in step."""

from __future__ import annotations

from everlog.core.sequencer import Import
from everlog.core.taking import Take, Taken
from everlog.errors import EverlogError, WrongUpstream
from everlog.sync.edge import Round
from tests.simulation import effects
from tests.simulation.effects import CLASHING
from tests.simulation.loop import Loop
from tests.simulation.site import Site
from tests.simulation.strict import STREAMS, versions_of
from tests.simulation.tasks import at_once
from tests.simulation.world import HUB, World

MOST_PASSES = 6
"""In so many passes over all edges they are in step."""


def settle(world: World) -> set[str]:
    """Brings all into step; returns the ids that were anywhere when faults stopped."""
    world.still_there.clear()
    world.network.cut = set()
    world.network.fair = True
    for site in world.sites:
        site.skew_ms = world.random.randint(-100, 100)
    _bring_back(world)
    there = world.ids
    # What is under way arrives, or is given up; what was stamped ahead is not ahead any more.
    world.pass_time(40_000)
    there |= world.ids
    world.fair = True
    for site in world.sites:
        for loop in site.loops:
            if loop.busy:
                world.violated(f"S10 a round of {site.name} does not end")
    _passes(world)
    if world.options.strict and not world.violations:
        there |= _append_everywhere(world)
    _effects(world)
    _purge(world)
    return there


def _purge(world: World) -> None:
    """Nothing is needed any more, and what the hub has cannot be taken back."""
    hub = world.addresses[HUB]
    for _ in hub.backups:
        hub.save()
    for site in world.sites:
        if site.loops and not site.scope.whole and not world.violations:
            _round(world, site, site.loops[0])


def _bring_back(world: World) -> None:
    """A hub that was left comes back, or its disk is lost."""
    for old in world.left:
        old.crash()
        if not world.chance(0.7):
            continue
        old.upstream = HUB
        old.boot()
        world.counts["old hub comes back"] += 1
        world.network.cut = set()
        results: list[object] = []
        world.begin_round(old, old.loops[0], results.append)
        world.pass_time(1_000)
        if not results or not isinstance(results[0], WrongUpstream):
            world.violated(f"two ledgers of one id do not notice it: {results}")
        # Under its id it cannot be an edge: the hub takes its records in, or a new ledger imports
        # them and becomes one. Of that the hub takes them without a receipt only if it trusts.
        records = tuple(each for each in old.records if each.stream != CLASHING)
        if world.secret is None and world.chance(0.5) and not world.options.strict:
            anew = Site(world, f"{old.name}-anew", HUB)
            world.add(anew)
            world.counts["old hub becomes an edge"] += 1
            [outcome] = at_once(anew.ledger.commit([Import(records, None)]))
        else:
            hub = world.addresses[HUB]
            ids = frozenset(each.id for each in records)
            strict, versions = world.strict_prefixes, versions_of(records)
            take = Take(records, None, ids, strict, versions)
            slots = world.strict.slots(hub, take)
            [outcome] = at_once(hub.ledger.commit([take]))
            if world.options.strict and isinstance(outcome, Taken):
                world.strict.note_taken(hub, take, outcome, slots)
        if isinstance(outcome, EverlogError):
            world.violated(f"S2 the old hub's records are refused: {outcome!r}")


def _passes(world: World) -> None:
    edges = [site for site in world.sites if site.loops]
    for passed in range(1, MOST_PASSES + 1):
        quiet = True
        world.random.shuffle(edges)
        for site in edges:
            result = _round(world, site, world.random.choice(site.loops))
            if world.violations:
                return
            quiet &= result.in_step and not result.new and not result.pushed and not result.forks
        if quiet:
            world.counts[f"in step after {passed} passes"] += 1
            return
    world.violated(f"S10 not in step after {MOST_PASSES} passes")


def _append_everywhere(world: World) -> set[str]:
    """S10: who is in step with a hub can append to its streams; returns the ids of what it did."""
    ids: set[str] = set()
    for site in [site for site in world.sites if site.upstream == HUB]:
        for stream in STREAMS:
            if not site.covers(stream):
                continue
            loop = world.random.choice(site.loops)
            _round(world, site, loop)
            attempt = world.strict.attempt(site, of=[stream], expecting=1.0)
            told = world.strict.forward(site, loop, attempt)
            world.pass_time(10_000)
            if not told or not isinstance(told[0], list):
                world.violated(f"S10 an append of {site.name} to {stream} ends with {told}")
                return ids
            ids |= {*attempt.ids}
    _passes(world)
    return ids


def _round(world: World, site: Site, loop: Loop) -> Round:
    results: list[object] = []
    world.begin_round(site, loop, results.append)
    for _ in range(200):
        if results:
            break
        world.pass_time(50)
    if not results or not isinstance(results[0], Round):
        world.violated(f"S10 a round of {site.name} ends with {results}")
        return Round(0, 0, 0, 0, 0, 0, in_step=False)
    return results[0]


def _effects(world: World) -> None:
    """Workers go on until nothing is owed."""
    for site in world.sites:
        head = len(site.records)
        for _ in range(400):
            if site.book.checkpoint == head and not site.book.open:
                break
            for step in (effects.look, effects.carry_out):
                world.start(site, step(site), lambda _: None)
            world.pass_time(40)
        else:
            world.violated(f"S6 effects of {site.name} do not come to an end")
