"""Policies: what becomes of a record whose handler fails."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal, TypeAlias

from everlog.errors import InvalidInput

GivingUp: TypeAlias = Literal["park", "stop", "skip"]

LONGEST_S = 1e9
"""The longest pause, in seconds: thirty years. Databases have no date for much later ones."""


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True)
class retry:  # in lower case, as it reads as words: on_error=retry(5)
    """Tries a failed record again, later and later; then parks it, stops, or skips it.

    - `times`: how often a record is tried in all
    - `first_s`: the pause before the second try, in seconds; each further one is `factor` times as
      long, up to `most_s`. Of each, between a half and the whole is waited, by chance, so that
      many workers do not come back at the same moment. 1e9 s is the longest
    - `then`: what follows the last try: `"park"`, `"stop"` or `"skip"`

    Meanwhile later records of the same stream wait behind it, in order; all others go on. Raises
    `InvalidInput` for values that cannot be.

    >>> retry(3, first_s=0.1).pause_s(2, chance=1.0)
    0.2
    """

    times: int = 5
    first_s: float = 0.5
    factor: float = 2.0
    most_s: float = 60.0
    then: GivingUp = "park"

    def __post_init__(self) -> None:
        if not _is_whole(self.times) or self.times < 1:
            raise InvalidInput(f"retry(times={self.times!r}) must be 1 or more")
        for name, least, most in (
            ("first_s", 0.0, LONGEST_S),
            ("factor", 1.0, sys.float_info.max),
            ("most_s", 0.0, LONGEST_S),
        ):
            value = getattr(self, name)
            if not _is_number(value) or not least <= value <= most:
                raise InvalidInput(
                    f"retry({name}={value!r:.80}) must be a number from {least:g} to {most:g}"
                )
        if self.then not in ("park", "stop", "skip"):
            raise InvalidInput(f"retry(then={self.then!r}) is not known; use park, stop or skip")

    def pause_s(self, tries: int, *, chance: float) -> float:
        """Returns how long to wait after so many tries, in seconds. `chance`: from 0 to 1."""
        try:
            pause = self.first_s * float(self.factor) ** (tries - 1)
        except OverflowError:  # of very many tries a power is larger than any number
            pause = self.most_s if self.first_s else 0.0
        return min(self.most_s, pause) * (0.5 + chance / 2)


Policy: TypeAlias = GivingUp | retry

DEFAULT = retry()


def check_policy(on_error: object) -> retry:
    """Returns a policy as one that is `retry`, of a single try where it says so at once."""
    if isinstance(on_error, retry):
        return on_error
    if on_error in ("park", "stop", "skip"):
        return retry(1, then=on_error)
    raise InvalidInput(
        f"on_error={on_error!r} is not known; use 'stop', 'park', 'skip' or retry(times=5)"
    )
