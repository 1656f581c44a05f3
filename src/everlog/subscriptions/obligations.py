"""Obligations: which effects a record brings with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from everlog.core.chain import RESTAMPED, RETURNED
from everlog.core.record import Record
from everlog.errors import EventDefinitionError
from everlog.ports.effects import Effect, EffectStatus
from everlog.subscriptions.calling import name_of, takes
from everlog.subscriptions.effects import OnAmbiguous
from everlog.subscriptions.projector import Listener, Projector

_NO_DEFAULT = (
    "{handler} is an effect, and a crash may leave it begun without an outcome: nobody knows then "
    "whether it has happened. Say what to do: once(..., idempotent=True) if its receiver takes "
    "record.idempotency_key, so that it can be called again; once(..., on_ambiguous='park') to "
    "leave it to a person; or once(..., on_ambiguous=verify), a function that asks the receiver"
)


@dataclass(frozen=True, slots=True)
class EffectHandler:
    """A `once`, as a durable subscription runs it."""

    name: str
    handler: Callable[..., Any]
    on_success: Callable[..., Any] | None
    on_error: Callable[..., Any] | None
    on_ambiguous: OnAmbiguous


EffectHandlers = Mapping[str, Sequence[EffectHandler]]
"""Those of each event type."""


def effect_handlers(projector: Projector) -> EffectHandlers:
    """Returns the `once` handlers of a projector, by event type.

    Raises `EventDefinitionError` for one that does not say what to do when nobody knows whether it
    has happened, for one without a name, and for two of one name.
    """
    found: dict[str, list[EffectHandler]] = {}
    named: dict[str, EffectHandler] = {}
    for type in projector.types:
        for listener in projector.listeners(type):
            if listener.kind != "once":
                continue
            handler = _prepared(listener)
            if named.setdefault(handler.name, handler) != handler:
                raise EventDefinitionError(
                    f"two effects are named {handler.name}; their states would be mixed up: name "
                    "one of them, once(..., name='...')"
                )
            found.setdefault(type, []).append(handler)
    return found


def _prepared(listener: Listener) -> EffectHandler:
    said = listener.once
    handler = name_of(listener.handler)
    if listener.takes_tx:
        raise EventDefinitionError(
            f"{handler} is an effect, which runs outside of any transaction, and asks for `tx`; "
            "write to the read model in an `on` or `all` handler"
        )
    if said is None or said.on_ambiguous is None:
        raise EventDefinitionError(_NO_DEFAULT.format(handler=handler))
    if said.name is None:
        raise EventDefinitionError(
            f"{handler} has no name under which its effects could be kept; give it one: "
            "once(..., name='...')"
        )
    return EffectHandler(
        said.name, listener.handler, listener.on_success, listener.on_error, said.on_ambiguous
    )


class Obligations:
    """What a subscription owes for the records of its log.

    A record brings an effect if it was born in this ledger, is neither hydrated nor outdated, and
    stands behind where the handler begins. One that was born here and forgotten, as the ledger was
    set back to a backup, and has come back from another ledger, brings it as ambiguous: it may have
    happened before.
    """

    def __init__(
        self, name: str, handlers: EffectHandlers, begins: Mapping[str, int], ledger: str
    ) -> None:
        """`begins`: behind which position, for each handler's name; `ledger`: the id of this."""
        self._name = name
        self._handlers = handlers
        self._ledger = ledger
        self.begin(begins)
        self._named = {each.name: each for of_type in handlers.values() for each in of_type}

    def begin(self, begins: Mapping[str, int]) -> None:
        """Takes in behind which position each handler begins."""
        self._begins = begins

    @property
    def has_handlers(self) -> bool:
        """Whether anything can be owed at all."""
        return bool(self._named)

    def of(self, slice: int, record: Record[Any]) -> list[Effect]:
        """Returns the effects of a record, as they are owed."""
        handlers = self._handlers.get(record.type, ())
        flags = record.stored.flags
        if not handlers or record.origin != self._ledger or flags & RESTAMPED:
            return []  # what stands in the place of another was owed for that one
        status: EffectStatus = "pending"
        if flags & RETURNED:
            # When it was born it was not outdated, whatever has come since.
            status = "ambiguous"
        elif record.hydrated or record.outdated:
            return []
        place = (slice, record.position, record.stream, record.id)
        return [
            Effect(self._name, each.name, *place, status)
            for each in handlers
            if record.position > self._begins[each.name]
        ]

    def handler(self, name: str) -> EffectHandler | None:
        """Returns the handler of a name; None if there is none any more."""
        return self._named.get(name)


def takes_outcome(function: Callable[..., Any]) -> bool:
    """Returns whether an `on_success` or `on_error` asks for an `outcome`."""
    return takes(function, "outcome")
