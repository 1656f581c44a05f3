"""A loop: what makes rounds for a ledger, and the line to its hub that a program has by it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING

from everlog.errors import EverlogError
from everlog.sync.edge import Edge, Round
from everlog.sync.forwarding import Forwarding, Line
from tests.simulation.network import Wire
from tests.simulation.tasks import Task

if TYPE_CHECKING:
    from tests.simulation.site import Site

MOST_ROUNDS = 5
"""So many rounds a program waits for what it has appended at a hub."""


class Loop:
    """An edge that makes rounds, one at a time: one process of the ledger, as a `Sync` is."""

    def __init__(self, site: Site, edge: Edge, wire: Wire, forwarding: Forwarding) -> None:
        self.edge = edge
        self.forwarding = forwarding
        self.busy = False
        self.waiting: list[Task] = []
        """What waits for the end of the round that is under way."""
        self.line = Line(wire, self.in_step, edge.scope)
        self.on_line: str | None = None
        """The hub that the last round has reached; None if it has not."""
        self.scope = ""
        """What the hub has given by the end of the last round in step, in its words."""
        self._wire = wire
        self._site = site
        self._begun = 0
        self._in_step_since = 0

    def begin(self) -> int:
        """Notes that a round begins; returns its number."""
        self.busy = True
        self._begun += 1
        return self._begun

    def ended(self, number: int, result: object) -> None:
        """Notes what became of a round."""
        self.busy = False
        if isinstance(result, EverlogError):
            if self.on_line is not None:
                self.forwarding.disconnect(self.on_line, self.line)
                self.on_line = None
        elif isinstance(result, Round):
            welcome = self.edge.welcome
            assert welcome is not None
            self.forwarding.learn(welcome.ledger, welcome.strict)
            if self.on_line is None:
                self.on_line = welcome.ledger
                self.forwarding.connect(welcome.ledger, self.line)
            if result.in_step:
                self._in_step_since = number
                self.scope = self._wire.scope

    async def in_step(self) -> None:
        """Returns when a round that has begun by now, or later, has ended in step."""
        wanted = self._begun + 1
        for _ in range(MOST_ROUNDS):
            if not self.busy:
                self._site.world.begin_round(self._site, self, lambda _: None)
            await RoundEnd(self)
            if self._in_step_since >= wanted:
                return
        raise TimeoutError


class RoundEnd:
    """Waits until the round of a loop that is under way has ended."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop

    def __await__(self) -> Generator[RoundEnd]:
        yield self
