"""Examining: what somebody who looks after a ledger should know of the place where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

Severity: TypeAlias = Literal["trouble", "warning", "note"]
"""`trouble`: something does not work, or is in danger; `warning`: it will be, if it stays so;
`note`: as it was asked for, and good to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that `store.diagnose` found.

    >>> for finding in await store.diagnose():
    ...     print(finding.severity, finding.what, "->", finding.advice)
    """

    severity: Severity
    code: str
    """Which check it was, in one word that stays the same: `clock`, `stuck`, `lag`, ..."""
    what: str
    """What is wrong, in words."""
    advice: str
    """What to do."""


@runtime_checkable
class Examined(Protocol):
    """A ledger that knows of its place what can be wrong with it."""

    async def examine(self, *, now_ms: Callable[[], int]) -> Sequence[Finding]:
        """Returns what is unsafe, or will not last, in the place where the ledger is.

        `now_ms`: this machine's clock, in milliseconds since 1970. Nothing is changed, and nothing
        long is waited for.
        """
        ...
