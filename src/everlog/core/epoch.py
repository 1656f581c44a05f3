"""Epochs: lives of a ledger. It begins another when it is restored, or a copy takes its place.

Those who know a ledger tell by its epoch that what they hear is of another life of it, and of which
of two it is the later one: an epoch begins with the time, as far as it is known where it begins.
"""

from __future__ import annotations

from dataclasses import dataclass

_TIMED = ("0180", "0300")
"""What says when it began: from 2022 to 2074. Others are random, and of ledgers that have begun
none since they were made."""
_RANDOM = 4
"""Characters that tell two of one moment apart."""


@dataclass(frozen=True, slots=True)
class BeginEpoch:
    """A request to begin another epoch, later than the one before. What became of it is that."""


def epoch_at(now_ms: int, random: bytes, *, after: str = "") -> str:
    """Returns an epoch that begins now, or a millisecond after another one: 16 hex characters.

    `random`: two bytes, or more.
    """
    if _is_timed(after):
        now_ms = max(now_ms, int(after[:-_RANDOM], 16) + 1)
    return f"{now_ms:012x}{random.hex()[:_RANDOM]}"


def is_older(epoch: str, *, than: str) -> bool:
    """Whether an epoch of a ledger is known to have begun before another one."""
    return _is_timed(than) and (not _is_timed(epoch) or epoch < than)


def _is_timed(epoch: str) -> bool:
    return len(epoch) == 16 and _TIMED[0] <= epoch < _TIMED[1]
