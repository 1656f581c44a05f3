"""Access: what who asks may see and write. Pure: what is not allowed by a pattern is refused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from everlog.core.record import StoredRecord
from everlog.core.selection import Selection
from everlog.core.sequencer import Append
from everlog.core.taking import Judged
from everlog.errors import InvalidMessage, NotAllowed
from everlog.server.tokens import Pattern
from everlog.wire.messages import Offer, Scope

ALL = (Pattern(),)

Members = Mapping[str, Collection[str]]
"""The streams in each of the relations that matter."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks."""

    name: str
    """That of the token; never any part of its text."""
    key: str | None
    """None: nobody in particular, at a server without tokens."""
    pull: tuple[Pattern, ...]
    push: tuple[Pattern, ...]
    ledger: str | None = None

    @property
    def sees_all(self) -> bool:
        """Whether it may read the whole log."""
        return any(pattern.is_all for pattern in self.pull)


ANYBODY = Caller("anybody", None, ALL, ALL)
"""Who asks a server without tokens."""


def relations_in(patterns: Sequence[Pattern]) -> list[str]:
    """Returns the relations that patterns name."""
    return sorted({each.relation for each in patterns if each.relation is not None})


def may_see(patterns: Sequence[Pattern], stream: str, type: str, members: Members) -> bool:
    """Whether an event is one of those that patterns are for."""
    return any(_matches(pattern, stream, type, members) for pattern in patterns)


def _matches(pattern: Pattern, stream: str, type: str | None, members: Members) -> bool:
    """`type` None: of any type."""
    return (
        stream.startswith(pattern.prefix or "")
        and (pattern.types is None or type in pattern.types)
        and (pattern.relation is None or stream in members.get(pattern.relation, ()))
    )


def check_scope(caller: Caller, scope: Scope) -> None:
    """Raises `NotAllowed` unless all that is in a scope may be read."""
    if not any(_covers(pattern, scope) for pattern in caller.pull):
        raise NotAllowed(
            f"token {caller.name!r} does not go so far; it may read: {_listed(caller.pull)}: ask "
            "for a scope within one of these"
        )


def _covers(pattern: Pattern, scope: Scope) -> bool:
    return (
        (scope.prefix or "").startswith(pattern.prefix or "")
        and pattern.relation in (None, scope.relation)
        and (
            pattern.types is None
            or (scope.types is not None and {*scope.types} <= {*pattern.types})
        )
    )


def check_selection(caller: Caller, selection: Selection, members: Members) -> None:
    """Raises `NotAllowed` unless all that a selection can give may be read.

    `members`: of the relations that the caller's patterns name. What a client sends back as
    resolved is judged like all else.
    """
    if selection.resolved and (selection.relation is not None or selection.until is None):
        raise InvalidMessage("selection", "is not as it was given: its end or its streams are gone")
    if any(_gives(pattern, selection, members) for pattern in caller.pull):
        return
    raise NotAllowed(
        f"token {caller.name!r} does not go so far; it may read: {_listed(caller.pull)}: select "
        "within one of these"
    )


def _gives(pattern: Pattern, selection: Selection, members: Members) -> bool:
    if pattern.types is not None and not (
        selection.types is not None and {*selection.types} <= {*pattern.types}
    ):
        return False
    if selection.streams is not None:
        # Each by itself: so it does not matter what else the selection says.
        untyped = Pattern(pattern.prefix, pattern.relation)
        return all(_matches(untyped, stream, None, members) for stream in selection.streams)
    if pattern.types is not None and selection.relation not in (None, pattern.relation):
        return False  # its pages name all streams of the relation, also those without such events
    return (selection.prefix or "").startswith(pattern.prefix or "") and pattern.relation in (
        None,
        selection.relation,
    )


def may_see_stream(caller: Caller, stream: str, members: Members) -> bool:
    """Whether it may be known of a stream what all its events are."""
    return any(_matches(pattern, stream, None, members) for pattern in caller.pull)


def check_append(caller: Caller, request: Append, members: Members) -> None:
    """Raises `NotAllowed` unless all of an append may be written.

    To put a stream into a relation needs a pattern that names the relation and how the stream's
    name begins, or one of all events: whoever reads the relation reads the stream from then on, so
    that it may be written into does not do.
    """
    for relation, stream in request.relations:
        if not any(_lets_join(pattern, relation, stream, members) for pattern in caller.push):
            raise NotAllowed(
                f"token {caller.name!r} may not put stream {stream!r} into relation {relation!r}; "
                f"it may write: {_listed(caller.push)}"
            )
    joining: dict[str, set[str]] = {}
    for relation, stream in request.relations:
        joining.setdefault(relation, set()).add(stream)
    after = {
        relation: {*members.get(relation, ()), *joining.get(relation, ())}
        for relation in {*members, *joining}
    }
    for event in request.events:
        if not may_see(caller.push, event.stream, event.type, after):
            raise NotAllowed(
                f"token {caller.name!r} may not append {event.type!r} to stream {event.stream!r}; "
                f"it may write: {_listed(caller.push)}"
            )


def _lets_join(pattern: Pattern, relation: str, stream: str, members: Members) -> bool:
    if pattern.is_all:
        return True
    if pattern.relation != relation:
        return False
    if stream in members.get(relation, ()):
        return True  # it is there already
    return pattern.prefix is not None and stream.startswith(pattern.prefix)


def screened(
    caller: Caller,
    offers: Sequence[Offer],
    members: Members,
    *,
    vouched: Callable[[Offer], bool],
) -> tuple[list[Offer], dict[int, Judged]]:
    """Returns what of a push the hub may look at, and what is said of the rest, by its place.

    What the hub has had, as its receipt shows, anybody gives back. Later events of a stream wait
    for one that was refused, as at the hub.
    """
    passed: list[Offer] = []
    refused: dict[int, Judged] = {}
    stopped: set[str] = set()
    for index, offer in enumerate(offers):
        record: StoredRecord = offer.record
        if record.stream in stopped:
            waiting = "one before it in its stream waits"
            refused[index] = Judged(record.id, "waiting", None, waiting)
        elif may_see(caller.push, record.stream, record.type, members) or vouched(offer):
            passed.append(offer)
        else:
            reason = f"token {caller.name!r} may not write it; it may: {_listed(caller.push)}"
            refused[index] = Judged(record.id, "rejected", None, reason)
            stopped.add(record.stream)
    return passed, refused


def _listed(patterns: Sequence[Pattern]) -> str:
    shown = "; ".join(str(pattern) for pattern in patterns[:5])
    return (shown or "nothing") + ("; ..." if len(patterns) > 5 else "")
