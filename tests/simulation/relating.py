"""Relating: streams enter and leave the relation at the hub that an edge wants the streams of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from everlog.core.relation import Relate, Related
from tests.simulation.tasks import at_once

if TYPE_CHECKING:
    from tests.simulation.world import World

RELATION = "wanted"


@dataclass
class Relating:
    """What is in the relation, and what was."""

    world: World
    left: set[str] = field(default_factory=set[str])
    """The streams that have been in it at some time, in any hub."""

    _meant: dict[str, frozenset[str]] = field(
        default_factory=lambda: {_digest([]): frozenset[str]()}
    )
    """What has ever been in it at one time, by the digest that hubs tell it by."""

    def meant(self, scope: str) -> frozenset[str]:
        """Returns which streams were in it when a hub put it into these words."""
        *_, digest = json.loads(scope)
        return self._meant[digest]

    @property
    def members(self) -> set[str]:
        """The streams that are in it now."""
        tables = self.world.addresses["hub"].ledger.tables
        return {*tables.streams_of([RELATION])}

    def change(self) -> None:
        """Has some streams enter or leave."""
        world, random, members = self.world, self.world.random, self.members
        hub = world.addresses["hub"]
        streams = [f"s{number}" for number in range(4)] + ["k0", "k1"] * world.options.strict
        some = random.sample(streams, random.choice([1, 1, 2]))
        enter = [(RELATION, stream) for stream in some if stream not in members]
        leave = [(RELATION, stream) for stream in some if stream in members]
        [outcome] = at_once(hub.ledger.commit([Relate(add=tuple(enter), remove=tuple(leave))]))
        assert isinstance(outcome, Related)
        now = hub.ledger.tables.streams_of([RELATION])
        self._meant[_digest(now)] = frozenset(now)
        known = hub.ledger.tables.by_stream
        world.counts["relation: entered"] += len(enter)
        world.counts["relation: entered with what was there"] += sum(s in known for _, s in enter)
        world.counts["relation: left"] += len(leave)
        self.left |= {*some}
        world.turns += 1  # what was given meanwhile is of a scope that has changed


def _digest(members: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps([*members]).encode()).hexdigest()
