"""What came out of a torture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Report:
    """What came out of a torture; `ok`, and as text all that one needs to judge and repeat it."""

    seed: int
    """Repeats the choices, though not the timing."""
    seconds: float
    """How long the writers wrote."""
    events: int
    """Records that the ledger holds of it."""
    acknowledged: int
    """Those of which a writer was told."""
    lost: int
    """Records that were acknowledged and are not there, or that a reader passed over."""
    twice: int
    """Ids that are there, or came to a reader, more than once."""
    inverted: int
    """Records before one that was there earlier: in the ledger, in a stream, or for a reader."""
    gaps: int
    """Positions and versions that are missing between others."""
    counts: Mapping[str, int]
    """How often all else happened: kills, cancellations, errors by their names, ..."""
    problems: tuple[str, ...]
    """Everything that is wrong, in words; of each kind the first few."""

    @property
    def ok(self) -> bool:
        """Whether nothing at all was found."""
        return not (self.lost or self.twice or self.inverted or self.gaps or self.problems)

    @property
    def conflicts(self) -> int:
        """Appends that were refused because somebody else was faster."""
        return self.counts.get("WrongVersion", 0)

    @property
    def events_per_s(self) -> float:
        """Records stored per second."""
        return self.events / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        counts = ", ".join(f"{count:,} {what}" for what, count in sorted(self.counts.items()))
        lines = [
            f"torture {'survived' if self.ok else 'NOT SURVIVED'}; seed {self.seed}",
            f"{self.events:,} events in {self.seconds:.1f} s ({self.events_per_s:,.0f}/s), "
            f"{self.acknowledged:,} of them acknowledged",
            f"{self.lost} lost, {self.twice} twice, {self.inverted} inverted, {self.gaps} gaps",
            counts,
            *(f"- {problem}" for problem in self.problems),
        ]
        return "\n".join(line for line in lines if line)
