"""Compares each class of `everlog.blocking` with the async one, as they are when they run."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import everlog
from everlog import blocking
from everlog.blocking.ledger import Ledger
from everlog.blocking.relations import Relations
from everlog.blocking.snapshots import Snapshots
from everlog.blocking.subscriptions import Subscriptions
from everlog.blocking.transaction import Transaction
from everlog.blocking.upstreams import Upstreams
from everlog.ports.ledger import Ledger as AsyncLedger
from everlog.ports.upstreams import Upstreams as AsyncUpstreams
from everlog.store.relations import Relations as AsyncRelations
from everlog.store.snapshots import Snapshots as AsyncSnapshots
from everlog.store.subscribing import Subscriptions as AsyncSubscriptions
from everlog.store.transacting import Transaction as AsyncTransaction
from tests.blocking import translation

TWINS: tuple[tuple[type[Any], type[Any]], ...] = (
    (everlog.AggregateRoot, blocking.AggregateRoot),
    (everlog.EventStore, blocking.EventStore),
    (everlog.Following, blocking.Following),
    (everlog.Projector, blocking.Projector),
    (everlog.Reading, blocking.Reading),
    (everlog.Rebuild, blocking.Rebuild),
    (everlog.Subscription, blocking.Subscription),
    (everlog.Sync, blocking.Sync),
    (everlog.Tx, blocking.Tx),
    (AsyncLedger, Ledger),
    (AsyncRelations, Relations),
    (AsyncSnapshots, Snapshots),
    (AsyncSubscriptions, Subscriptions),
    (AsyncTransaction, Transaction),
    (AsyncUpstreams, Upstreams),
)

FUNCTIONS: tuple[tuple[Callable[..., Any], Callable[..., Any]], ...] = (
    (everlog.migrate, blocking.migrate),
    (everlog.migration_script, blocking.migration_script),
)
"""Functions that wait: written by hand, as each is one call."""

ONE_SIDED: Mapping[str, str] = {
    "EventStore.pend": "what aggregates of the async store call; blocking: BlockingSaver.pend",
    "EventStore.as_hub": "a transport is async: `blocking.EventStore.sync` takes a store or one",
    "EventStore.snapshot_aggregate": "likewise, BlockingSaver.snapshot_now",
    "Subscriptions.make": "what `store.subscription` of both stores calls",
    "Subscriptions.make_rebuild": "what `store.rebuild` of both stores calls",
    "Subscriptions.place": "what `store.sync` of both stores is made of",
    "Subscriptions.close": "what `store.close` of both stores calls",
    "Subscriptions.close_later": "likewise, inside of a handler",
    "Ledger.join": "what `store.transaction` of both stores is made of",
    "Ledger.of": "how an adapter of one's own gets to the loop of the portal",
}
"""Methods that only one of the two has, and why."""

DUNDERS = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
}
"""What else is public, by the name of the async class and of the blocking one."""
CONSTRUCTED = {"EventStore", "Projector"}
"""Classes that programs make themselves: their constructors are public."""


def differences(theirs: type[Any], ours: type[Any]) -> list[str]:
    """Returns what the blocking class has otherwise than the async one, in words."""
    name = theirs.__name__
    found = list(_docstrings(name, theirs.__doc__, ours.__doc__))
    there, here = _members_of(theirs), _members_of(ours)
    for member in there.keys() | here.keys():
        where = f"{name}.{member}"
        if member not in here:
            found.append(f"{where} is missing")
        elif member not in there:
            found.append(f"{where} is not in the async class")
        else:
            found += _members(where, there[member], here[member])
    fields, other = _fields_of(theirs), _fields_of(ours)
    found += [
        f"{name}.{field} is declared otherwise"
        for field in fields.keys() | other.keys()
        if fields.get(field) != other.get(field)
    ]
    return sorted(found)


def differences_of_functions(theirs: Callable[..., Any], ours: Callable[..., Any]) -> list[str]:
    """Returns what a blocking function has otherwise than the async one, in words."""
    return sorted(_members(theirs.__name__, theirs, ours))


def _members_of(cls: type[Any]) -> dict[str, Any]:
    """Returns the public members that a class defines itself, by their name in the blocking one."""
    # The async reading has an __iter__, too: it says that it is not for a plain `for`.
    public = {one if one in vars(cls) else other for one, other in DUNDERS.items()}
    if cls.__name__ in CONSTRUCTED:
        public.add("__init__")
    return {
        DUNDERS.get(name, name): member
        for name, member in vars(cls).items()
        if (not name.startswith("_") or name in public)
        and (callable(member) or isinstance(member, (property, staticmethod, classmethod)))
        and f"{cls.__name__}.{name}" not in ONE_SIDED
    }


def _fields_of(cls: type[Any]) -> dict[str, Any]:
    """Returns the declared public attributes, also of bases."""
    return {
        name: kind
        for base in reversed(cls.__mro__)
        for name, kind in inspect.get_annotations(base).items()
        if not name.startswith("_")
    }


def _members(where: str, there: Any, here: Any) -> Iterator[str]:
    if type(there) is not type(here):
        yield f"{where} is a {type(here).__name__}, not a {type(there).__name__}"
        return
    theirs, ours = _function_of(there), _function_of(here)
    yield from _docstrings(where, theirs.__doc__, ours.__doc__)
    yield from _signatures(where, theirs, ours)
    theirs_over, ours_over = typing.get_overloads(theirs), typing.get_overloads(ours)
    if len(theirs_over) != len(ours_over):
        yield f"{where} has {len(ours_over)} overloads, not {len(theirs_over)}"
    for one, other in zip(theirs_over, ours_over, strict=False):
        yield from _signatures(f"an overload of {where}", one, other)
    if inspect.iscoroutinefunction(ours):
        yield f"{where} is to be awaited"


def _function_of(member: Any) -> Any:
    if isinstance(member, property):
        return member.fget
    return inspect.unwrap(member)


def _signatures(where: str, theirs: Any, ours: Any) -> Iterator[str]:
    wanted, found = _parameters(theirs, translated=True), _parameters(ours, translated=False)
    for one, other in zip(wanted, found, strict=False):
        if one != other:
            yield f"{where} takes {other}, not {one}"
    if len(wanted) != len(found):
        yield f"{where} takes {len(found)} arguments, not {len(wanted)}"
    if _returned(theirs, translated=True) != _returned(ours, translated=False):
        yield f"{where} returns {_returned(ours, translated=False)}"


def _parameters(function: Any, *, translated: bool) -> list[str]:
    return [
        " ".join(
            [
                parameter.kind.description,
                parameter.name,
                _annotation(parameter.annotation, translated=translated),
                "" if parameter.default is parameter.empty else f"= {parameter.default!r}",
            ]
        )
        for parameter in inspect.signature(function).parameters.values()
    ]


ITERATORS = {"AsyncIterator[Record[E]]": "Iterator[Record[E]]"}


def _returned(function: Any, *, translated: bool) -> str:
    text = _annotation(inspect.signature(function).return_annotation, translated=translated)
    return ITERATORS.get(text, text) if translated else text


def _annotation(annotation: Any, *, translated: bool) -> str:
    if annotation is inspect.Parameter.empty:
        return ""
    assert isinstance(annotation, str), "annotations are texts: from __future__ import annotations"
    return translation.annotation(annotation) if translated else annotation


def _docstrings(where: str, theirs: str | None, ours: str | None) -> Iterator[str]:
    if theirs is None or ours is None:
        if theirs is not ours:
            yield f"{where} has no docstring, or has one alone"
        return
    wanted = translation.docstring(where, inspect.cleandoc(theirs))
    if not translation.same_docstring(wanted, inspect.cleandoc(ours)):
        yield f"{where} says something else than the async one"
