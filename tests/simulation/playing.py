"""Playing runs: one seed, or many with what happened in them added up."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from tests.simulation.options import Options
from tests.simulation.oracles import judge, summary
from tests.simulation.settling import settle
from tests.simulation.world import World

SEEDS = 500
"""How many CI plays, from 0 on. Nearly all that kill mutants are among them."""


@dataclass(frozen=True)
class Played:
    """What came of a run."""

    seed: int
    options: Options
    violations: list[str]
    counts: Counter[str]

    def __str__(self) -> str:
        same = self.options == Options.of(self.seed)
        said = "" if same else f" {self.options}"
        return (
            f"seed {self.seed} with {self.options}\n{summary(self.violations)}\n"
            f"again: python -m tests.simulation {self.seed}{said}"
        )


async def play_once(seed: int, options: Options | None = None) -> Played:
    """Plays one run."""
    options = options or Options.of(seed)
    world = World(seed, options)
    world.run()
    if not world.violations:
        there = settle(world)
        if not world.violations:
            await judge(world, there)
    for site in [*world.sites, *world.left]:
        site.crash()
    return Played(seed, options, world.violations, world.counts)


def play(seed: int, options: Options | None = None) -> Played:
    """Plays one run, in a loop of its own."""
    return asyncio.run(play_once(seed, options))


@dataclass
class Session:
    """What came of many runs."""

    played: int
    failed: list[Played]
    counts: Counter[str]
    seconds: float


def play_many(
    seeds: Iterable[int],
    *,
    most_failures: int = 1,
    most_s: float | None = None,
    http: bool = False,
) -> Session:
    """Plays runs until there are so many failures, or the time is over.

    `http`: what they say to each other goes through the HTTP layer.
    """

    async def main() -> Session:
        session = Session(0, [], Counter(), 0.0)
        began = time.monotonic()
        for seed in seeds:
            played = await play_once(seed, replace(Options.of(seed), http=http))
            session.played += 1
            session.counts.update(+played.counts)
            session.seconds = time.monotonic() - began
            if played.violations:
                session.failed.append(played)
                if len(session.failed) >= most_failures:
                    break
            if most_s is not None and session.seconds > most_s:
                break
        return session

    return asyncio.run(main())
