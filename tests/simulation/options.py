"""Options: what befalls the ledgers of a run, drawn from its seed."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from random import Random
from typing import Any


@dataclass(frozen=True, slots=True)
class Options:
    """Rates are per step or message, from 0 to 1."""

    edges: int
    """Ledgers beside the hub to begin with."""
    leaf: bool
    """Whether one more ledger has an edge for its hub."""
    steps: int
    piece: int
    """Records in a message, at most."""
    secret: bool
    """Whether the hub gives receipts, and trusts nobody's word."""
    drop: float
    repeat: float
    delay_ms: int
    straggle: float
    """Requests that arrive long after they were given up."""
    late: float
    """Calls that are answered with what came too late for an earlier one."""
    damage: float
    """Answers that are damaged on their way."""
    cut: float
    pause: float
    """Commits around which something else may happen."""
    crash: float
    restore: float
    clone: float
    fail_over: float
    promise: float
    """Pushes behind whose answer the hub fails over to a replica that has nothing of them."""
    renew: float
    """Fail-overs and restores that get a new epoch."""
    old_hub: bool
    """Whether a hub that was left goes on for those who have not heard of it, for a while."""
    skew: float
    clash: float
    """Appends under an id that another ledger gives to another event."""
    stamps_anew: bool
    """Whether what a clock that ran ahead has stamped gets another stamp; otherwise it is held."""
    scoped: bool
    """Whether the first edge wants a part of the streams."""
    relate: float
    """Appends in whose place streams enter or leave the relation at the hub that this part is of;
    0: it is what has a prefix."""
    strict: bool
    """Whether there are streams that only the hub appends to."""
    http: bool
    """Whether what they say to each other goes through the HTTP layer."""

    @staticmethod
    def of(seed: int) -> Options:
        """Returns the options of a seed."""
        random = Random(f"options {seed}")
        pick = random.choice
        secret = random.random() < 0.4
        options = Options(
            edges=pick([2, 2, 3, 4]),
            leaf=not secret and random.random() < 0.3,
            steps=250,
            piece=pick([1, 2, 3, 5, 12]),
            secret=secret,
            drop=pick([0.0, 0.05, 0.3]),
            repeat=pick([0.0, 0.1, 0.3]),
            delay_ms=pick([1, 4, 15, 50]),
            straggle=pick([0.0, 0.05, 0.2]),
            late=pick([0.0, 0.0, 0.1]),
            damage=pick([0.0, 0.0, 0.03]),
            cut=pick([0.0, 0.02]),
            pause=pick([0.1, 0.5]),
            crash=pick([0.0, 0.02, 0.06]),
            restore=pick([0.0, 0.0, 0.015]),
            clone=pick([0.0, 0.0, 0.008]),
            fail_over=pick([0.0, 0.0, 0.015]),
            promise=0.0,
            renew=pick([0.0, 0.5, 1.0]),
            old_hub=random.random() < 0.5,
            skew=pick([0.0, 0.0, 0.02]),
            clash=pick([0.0, 0.0, 0.05, 0.15]),
            stamps_anew=False,
            scoped=False,
            relate=0.0,
            strict=False,
            http=False,
        )
        # The rest has its own part of the seeds, so that the others stay what they are.
        if 300 <= seed % 500 < 367:
            options = options._stamping_anew(random)
        if seed % 500 >= 434:
            # Of a part the chain cannot be computed: damage is not seen. What a restored edge has
            # lost, or a copy of it has not, of what it does not want does not come back.
            options = replace(options, scoped=True, leaf=False, damage=0.0, restore=0.0, clone=0.0)
        if seed % 500 >= 464:
            options = replace(options, relate=random.choice([0.05, 0.3]))
        if 140 <= seed % 500 < 160:
            # With little else, as what comes next is what counts.
            options = replace(options, promise=0.15, piece=random.choice([1, 2]), fail_over=0.0)
            options = replace(options, old_hub=False, skew=0.0, crash=0.0, drop=0.0, delay_ms=4)
        if 240 <= seed % 500 < 300 or 367 <= seed % 500 < 434 or (options.relate and seed % 2):
            # What an edge of an edge writes to such a stream is refused above its hub.
            options = replace(options, strict=True, leaf=False)
        return options

    def _stamping_anew(self, random: Random) -> Options:
        """Clocks of edges run ahead; that of the hub is the right one."""
        return replace(self, stamps_anew=True, skew=random.choice([0.02, 0.06]))

    def but(self, said: dict[str, str]) -> Options:
        """Returns the options with some of them said otherwise, as text."""
        kinds = {each.name: str(each.type) for each in fields(self)}
        changes: dict[str, Any] = {}
        for name, text in said.items():
            kind = kinds[name]
            changes[name] = text == "True" if kind == "bool" else float(text)
            if kind == "int":
                changes[name] = int(text)
        return replace(self, **changes)

    def __str__(self) -> str:
        return " ".join(f"--{each.name} {getattr(self, each.name)}" for each in fields(self))
