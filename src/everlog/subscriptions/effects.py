"""Effects, as they are declared: what becomes of one whose outcome nobody knows, and outcomes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeAlias

from everlog.core.portable import JsonValue
from everlog.core.record import Record
from everlog.core.stream import ANY, Expectation, check_name
from everlog.errors import EventDefinitionError
from everlog.subscriptions.calling import name_of

Verdict: TypeAlias = bool | tuple[Literal["done"], JsonValue]
"""What the receiver says of an effect: `True`, or `("done", result)`: it has happened; `False`: it
has not, and is called."""
Verify: TypeAlias = Callable[[Record[Any]], Verdict | Awaitable[Verdict]]
"""Asks the receiver whether the effect of a record has happened."""
OnAmbiguous: TypeAlias = Literal["retry", "park"] | Verify
"""What becomes of an effect that was begun, and of which a crash or a time-out has left no
outcome."""


@dataclass(frozen=True, slots=True)
class Once:
    """What a `once` says of its effect."""

    name: str | None
    """Under which its effects are kept; None where the handler has none of its own."""
    on_ambiguous: OnAmbiguous | None
    """None where nothing was said."""


def once_of(
    handler: Callable[..., Any],
    *,
    name: str | None,
    on_ambiguous: OnAmbiguous | None,
    idempotent: bool,
) -> Once:
    """Returns what was said; raises `EventDefinitionError` for what cannot be."""
    if name is not None:
        check_name("handler", name)
    else:
        name = getattr(handler, "__qualname__", None)
    if on_ambiguous is None:
        return Once(name, "retry" if idempotent else None)
    if on_ambiguous not in ("retry", "park") and not callable(on_ambiguous):
        raise EventDefinitionError(
            f"on_ambiguous={on_ambiguous!r} of {name_of(handler)} is not known; use 'retry', "
            "'park', or a function that asks the receiver: async def verify(record) -> bool"
        )
    return Once(name, on_ambiguous)


class Planned(NamedTuple):
    """An event of an outcome."""

    stream: str
    event: object
    meta: object
    expect: Expectation
    relations: tuple[str, ...]


AppendOutcome: TypeAlias = Callable[[Sequence[Planned], Sequence[str]], Awaitable[None]]
"""Appends events under these ids, all or nothing; those that are there already are found again."""


class Outcome:
    """The events in which an effect ends, given to an `on_success` or `on_error` that asks for it.

    It is asked for by the name of a parameter, `outcome`. Its events are appended when the function
    has returned, all or nothing, with ids of their own for this effect, and the record as their
    cause. They are in the log exactly once if the effect is done, or will be: after a crash between
    the two they are found again.

    >>> projector = Projector()
    >>> async def tell(record: Record, result: object, outcome: Outcome) -> None:
    ...     outcome.append(record.stream, EmailSet("welcomed@doe.com"))
    >>> @projector.once(UserCreated, idempotent=True, on_success=tell)
    ... async def welcome(record: Record[UserCreated]) -> None: ...
    """

    def __init__(self) -> None:
        self._planned: list[Planned] = []

    def append(
        self,
        stream: str,
        *events: object,
        meta: object = None,
        expect: Expectation = ANY,
        relations: Iterable[str] = (),
    ) -> None:
        """Plans events for a stream. The arguments are those of `store.append`.

        An `expect` that is not met fails the `on_success`, which is tried again by the policy of
        the subscription; the effect is not.

        >>> outcome = Outcome()
        >>> outcome.append("user-1", EmailSet("jane@work.com"), expect=EXISTS)
        >>> [planned.stream for planned in outcome.planned]
        ['user-1']
        """
        names = tuple(relations)
        for event in events:
            self._planned.append(Planned(stream, event, meta, expect, names))
            expect, names = ANY, ()  # as of one append: the others follow it

    @property
    def planned(self) -> Sequence[Planned]:
        """What is to be appended, in order.

        >>> outcome = Outcome()
        >>> outcome.append("user-1", EmailSet("a@b.com"), EmailSet("c@d.com"))
        >>> [planned.event.root for planned in outcome.planned]
        ['a@b.com', 'c@d.com']
        """
        return tuple(self._planned)


_OUTCOMES = uuid.UUID("3d6a3c34-5a7b-5a0f-9c58-2f6f5b0f5a11")


def outcome_id(
    subscription: str, handler: str, event: str, of: Literal["success", "error"], number: int
) -> str:
    """Returns the id of an outcome's event: the same whenever it is appended again."""
    return str(uuid.uuid5(_OUTCOMES, json.dumps([subscription, handler, event, of, number])))
