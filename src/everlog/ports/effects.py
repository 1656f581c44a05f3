"""Effects: what subscriptions owe the world outside, and what is known of each.

In the database of the checkpoints, so that an effect is owed in the transaction in which the
checkpoint moves past its record.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

EffectStatus = Literal[
    "pending",
    "intent",
    "succeeded",
    "done",
    "retrying",
    "ambiguous",
    "parked",
    "dropped",
    "failed",
]
"""`pending`: owed, not begun; `intent`: about to be called, or being called; `succeeded`: it has
happened, and its `on_success` is to come; `done`: it has happened, and all is done; `retrying`: it
has failed and is tried again; `ambiguous`: it was begun and nobody knows whether it has happened;
`parked`: it has failed for good and waits for a person; `failed`: it has failed for good, and its
`on_error` has been told; `dropped`: given up, by a person or by the policy."""

UNFINISHED: tuple[EffectStatus, ...] = (
    "pending",
    "intent",
    "succeeded",
    "retrying",
    "ambiguous",
    "parked",
)
"""Those that hold up later effects of their handler and stream."""


@dataclass(frozen=True, slots=True)
class Effect:
    """An effect: one handler, of one record, of one subscription."""

    name: str
    """The subscription."""
    handler: str
    slice: int
    position: int
    stream: str
    id: str
    """That of the event."""
    status: EffectStatus
    tries: int = 0
    """How often it was called; of one that has happened, how often its `on_success` has failed."""
    due_s: float | None = 0.0
    """In how many seconds something is to be done for it, 0 or less: now; None: not by itself."""
    result: str | None = None
    """What the handler has returned, as JSON; None until it has happened."""
    happened: bool = False
    """Whether it is known to have happened: then it is not called again."""
    error: str = ""
    """The last error, in words."""
    intent_s: float | None = None
    """So many seconds ago it was about to be called last; None for never. Not taken by `owe`."""
    since_s: float = 0.0
    """So many seconds ago it was owed. Not taken by `owe`."""


class Lane(NamedTuple):
    """Where effects wait for each other: one handler of a subscription, and one stream."""

    handler: str
    stream: str
    slice: int
    due_s: float
    """In how many seconds something is to be done for the first of its effects, 0 or less: now."""


class Change(NamedTuple):
    """From how an effect stands, to how it is to stand."""

    handler: str
    position: int
    before: EffectStatus
    before_tries: int
    status: EffectStatus
    tries: int
    due_s: float | None = None
    result: str | None = None
    happened: bool = False
    error: str = ""


@dataclass(frozen=True, slots=True)
class EffectCounts:
    """How many effects of a subscription there are that are not finished."""

    name: str
    pending: int
    """All but the following: they go on by themselves."""
    ambiguous: int
    parked: int
    oldest_s: float
    """So many seconds ago the oldest of all of them was owed."""


class Owing(Protocol):
    """Effects, in a transaction of a worker."""

    async def owe(self, effects: Sequence[Effect]) -> None:
        """Writes effects down as they are given; those that are there already stay as they are."""
        ...

    async def begin_handlers(self, name: str, handlers: Collection[str], *, position: int) -> None:
        """As `Effects.register_handlers`, in this transaction."""
        ...


class Effects(Protocol):
    """The effects of all subscriptions of one ledger. Errors are those of `Checkpoints`."""

    async def register_handlers(
        self, name: str, handlers: Collection[str], *, position: int
    ) -> Mapping[str, int]:
        """Writes down behind which position each handler's effects begin; returns it for each.

        Of one that is there it stays as it is.
        """
        ...

    async def handlers(self, name: str) -> Mapping[str, int]:
        """Returns behind which position the effects begin of each handler that is registered."""
        ...

    async def lanes(
        self,
        name: str,
        slices: Collection[int],
        *,
        within_s: float,
        behind: tuple[str, str] = ("", ""),
        limit: int = 500,
    ) -> Sequence[Lane]:
        """Returns the lanes of which the first unfinished effect is due within so many seconds.

        In order of handler and stream, `behind` those of a lane.
        """
        ...

    async def lane(
        self, name: str, handler: str, stream: str, *, limit: int = 100
    ) -> Sequence[Effect]:
        """Returns the unfinished effects of a lane, the first ones, in order of position."""
        ...

    async def change_effect(
        self, name: str, change: Change, *, slice: int | None = None, fence: int = 0
    ) -> bool:
        """Has an effect stand otherwise, if it stands as is said; returns whether it did.

        In a transaction of its own, as durable as an append. With a `slice`, only under its fence;
        raises `LeaseLost` otherwise. To `intent` it notes when. `due_s` counts from now.
        """
        ...

    async def mark_ambiguous(
        self, name: str, fences: Mapping[int, int], *, but: Collection[tuple[str, int]] = ()
    ) -> int:
        """Has each `intent` of some slices be `ambiguous`, due now; returns how many.

        To be called by whoever has claimed them: nobody is left who knows how those calls ended.
        `but`: handlers and positions of those that the caller itself has begun. Slices that are not
        held under their fence are left alone.
        """
        ...

    async def effects(
        self,
        name: str | None = None,
        *,
        status: EffectStatus | None = None,
        stream: str | None = None,
        position: int | None = None,
        limit: int = 1000,
    ) -> Sequence[Effect]:
        """Returns effects, finished ones too, in order of name, position and handler."""
        ...

    async def effect_counts(self) -> Sequence[EffectCounts]:
        """Returns how many there are of each subscription that has unfinished ones, by name."""
        ...
