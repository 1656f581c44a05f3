"""What "in step" promises, at the end of any round and not only when all is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.simulation.effects import CLASHING

if TYPE_CHECKING:
    from tests.simulation.site import Site
    from tests.simulation.world import World


class Promise:
    """What was there when a round began: all of that is on both sides if it ends in step."""

    def __init__(self, world: World, site: Site) -> None:
        self._world = world
        self._site = site
        self._hub = self._asked()
        self._turns = world.turns
        self._wanted = self._in_scope(self._hub) if self._hub else set[str]()
        self._own = {each.id for each in site.counting if each.stream != CLASHING}

    def judge(self) -> None:
        """Notes what is missing at the end, if it is the same hub that was asked all the time."""
        world, site, hub = self._world, self._site, self._asked()
        if hub is None or hub is not self._hub or world.turns != self._turns:
            return
        world.counts["round in step with one hub"] += 1
        first_id = world.history.first_id
        here = {first_id(id) for id in site.ledger.tables.by_id}
        wanted = self._wanted & self._in_scope(hub)
        if missing := {first_id(id) for id in wanted} - here:
            world.violated(f"S12 {site.name} is in step without {sorted(missing)} of {hub.name}")
        copy = site.ledger.tables.copies.get(hub.ledger.identity.ledger)
        held = set[str]() if copy is None else {each.stream for each in copy.held.values()}
        records = [each for each in site.records if each.id in self._own]
        there = {first_id(id) for id in hub.ledger.tables.by_id}
        own = {first_id(each.id) for each in records if each.stream not in held}
        if missing := own - there:
            world.violated(f"S12 {site.name} is in step, and {hub.name} has not {sorted(missing)}")

    def _asked(self) -> Site | None:
        site = self._site
        return None if site.upstream is None else self._world.server(site, site.upstream)

    def _in_scope(self, hub: Site) -> set[str]:
        """What a hub has of what is wanted of it."""
        prefix, relation, _ = self._site.scope
        tables = hub.ledger.tables
        members = set[str]() if relation is None else {*tables.streams_of([relation])}
        return {
            each.id
            for each in hub.counting
            if each.stream != CLASHING
            and each.stream.startswith(prefix or "")
            and (relation is None or each.stream in members)
        }
