"""Preparing: from events as a program hands them in to a request that can be committed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from everlog.core.aggregate import AggregateRoot
from everlog.core.chain import HYDRATED, NONCE_BYTES
from everlog.core.event import Registry, check_size
from everlog.core.record import Record, StoredRecord, computed_hash
from everlog.core.sequencer import Append, NewEvent, check_append, check_whole
from everlog.core.stamp import from_original, last_stamp_of, moment_bound
from everlog.core.stream import ANY, Expectation, check_expectation, check_name
from everlog.errors import InvalidInput
from everlog.store.ids import IdSource
from everlog.subscriptions.causation import current_cause


class To(NamedTuple):
    """One event of an `append_many`; made by `to`."""

    stream: str
    event: object
    meta: object
    expect: Expectation
    id: str | None
    relations: tuple[str, ...]


def to(
    stream: str,
    event: object,
    *,
    meta: object = None,
    expect: Expectation = ANY,
    id: str | None = None,
    relations: Iterable[str] = (),
) -> To:
    """Says where an event of `store.append_many` goes, and what it asks of its stream.

    `expect` is checked as if the events before it in the same call had been appended. `relations`
    are added to the stream in the same transaction.

    >>> records = await store.append_many(
    ...     [
    ...         to("user-2", UserCreated(email="joe@doe.com"), expect=NEW, id="message-17"),
    ...         to("user-2", EmailSet("joe@acme.com"), expect=1),
    ...     ]
    ... )
    """
    return To(stream, event, meta, expect, id, _names(relations))


_CHANCE_BYTES = NONCE_BYTES + 4
"""Random bytes of an event: its nonce, and the end of its id."""


_Item = tuple[str, object, object, Expectation, str | None]
"""Stream, event, meta, expectation, id."""


class Preparer:
    """Validates and encodes events, and gives them ids, nonces and causes."""

    def __init__(
        self, registry: Registry, ids: IdSource, random_bytes: Callable[[int], bytes]
    ) -> None:
        self._registry = registry
        self._ids = ids
        self._random_bytes = random_bytes

    def new_id(self) -> str:
        """Returns a new id."""
        return self._ids.next()

    def append(
        self,
        stream: str,
        events: Sequence[object],
        *,
        meta: object,
        expect: Expectation,
        ids: Sequence[str] | None,
        relations: Iterable[str],
        observed: str,
    ) -> Append:
        """Returns a checked request to append to one stream; the first event carries `expect`.

        Raises `InvalidInput` of the kind that says what is wrong.
        """
        check_name("stream", stream)
        if ids is not None and (isinstance(ids, str) or len(ids) != len(events)):
            raise InvalidInput(
                f"ids={ids!r} must be a list with one id for each of the {len(events)} event(s)"
            )
        check_expectation(expect)
        if ids is not None:
            for id in ids:
                check_name("event id", id)
        items: list[_Item]
        if len(events) == 1:  # by far the most
            items = [(stream, events[0], meta, expect, ids[0] if ids else None)]
        else:
            items = [
                (stream, event, meta, ANY if index else expect, ids[index] if ids else None)
                for index, event in enumerate(events)
            ]
        related: list[tuple[str, str]] = []
        if relations and events:
            related = [(relation, stream) for relation in _names(relations)]
        return self._append(items, related, observed)

    def append_many(self, items: Sequence[To], *, observed: str) -> Append:
        """Returns a checked request; raises `InvalidInput` of the kind that says what is wrong."""
        related: list[tuple[str, str]] = []
        for item in items:
            # From programs that no type checker has seen.
            if not isinstance(item, To):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidInput(f"append_many takes to(stream, event, ...), not {item!r:.60}")
            check_name("stream", item.stream)
            check_expectation(item.expect)
            if item.id is not None:
                check_name("event id", item.id)
            related += ((relation, item.stream) for relation in item.relations)
        return self._append([item[:5] for item in items], related, observed)

    def _append(
        self, items: Sequence[_Item], related: Sequence[tuple[str, str]], observed: str
    ) -> Append:
        """Validates and encodes the events of one call, whose names have been checked."""
        random, start = self._random_bytes(_CHANCE_BYTES * len(items)), 0
        correlation, causation = current_cause()
        registry, next_id = self._registry, self._ids.next
        prepared: list[NewEvent] = []
        size = 0
        codec: object = self
        said: object = self
        meta_text = ""
        for stream, event, meta, expect, id in items:
            declared = registry.of_event(event)
            type = declared.type
            data = declared.codec.encode(event, at="data", event_type=type)
            # Of what is said about all events of a call, once is enough.
            if meta is not said or declared.meta is not codec:
                meta_text = declared.encode_meta(meta)
                codec, said = declared.meta, meta
            size += check_size(type, data, meta_text)
            nonce = random[start : start + NONCE_BYTES]
            if id is None:
                id = next_id(random[start + NONCE_BYTES : start + _CHANCE_BYTES])
            start += _CHANCE_BYTES
            # fmt: off
            prepared.append(NewEvent(
                id, stream, type, declared.schema, declared.register, data, meta_text,
                correlation or id, causation, nonce, expect,
            ))
            # fmt: on
        for relation, _ in related:
            check_name("relation", relation)
        relations = tuple(dict.fromkeys(related)) if related else ()
        request = Append(tuple(prepared), relations, observed)
        return request if len(prepared) == 1 else check_whole(request, size=size)

    def pending(
        self, aggregate: AggregateRoot, event: object, meta: object, *, created: str, origin: str
    ) -> Record[Any]:
        """Returns an event that an aggregate emits, validated and with its final id."""
        declared = self._registry.of_event(event)
        data, meta_text = declared.encode(event, meta)
        id, cause, log = self._ids.next(), current_cause(), aggregate.log
        stored = StoredRecord(
            position=0,
            version=log.version + len(log.pending) + 1,
            id=id,
            stream=log.stream,
            type=declared.type,
            schema=declared.schema,
            register=declared.register,
            origin=origin,
            correlation=cause.correlation or id,
            causation=cause.causation,
            created=created,
            recorded=created,
            flags=0,
            nonce=self._random_bytes(NONCE_BYTES),
            data=data,
            meta=meta_text,
            hash=b"",
            chain=b"",
        )
        return Record(stored, self._registry)

    def past(
        self,
        stream: str,
        event: object,
        *,
        created: datetime | str,
        meta: object,
        id: str | None,
        origin: str,
        node: str,
    ) -> Record[Any]:
        """Returns a record of something that happened before, to be imported."""
        declared = self._registry.of_event(event)
        data, meta_text = declared.encode(event, meta)
        if isinstance(created, datetime):
            # The first stamp of its millisecond and not the last: it happened at that moment.
            stamp = last_stamp_of(created, where="created")[:12] + "0000" + node
        elif _is_original(created):
            stamp = from_original(created, node=node)
        else:
            stamp = moment_bound(created, where="created")
        id = self._ids.next() if id is None else check_name("event id", id)
        stored = StoredRecord(
            position=0,
            version=0,
            id=id,
            stream=check_name("stream", stream),
            type=declared.type,
            schema=declared.schema,
            register=declared.register,
            origin=origin,
            correlation=id,
            causation=None,
            created=stamp,
            recorded=stamp,
            flags=HYDRATED,
            nonce=self._random_bytes(NONCE_BYTES),
            data=data,
            meta=meta_text,
            hash=b"",
            chain=b"",
        )
        return Record(stored._replace(hash=computed_hash(stored)), self._registry)


def of_pending(aggregates: Sequence[AggregateRoot], *, observed: str) -> Append:
    """Returns the request that saves the pending events of aggregates."""
    events: list[NewEvent] = []
    for aggregate in aggregates:
        for index, record in enumerate(aggregate.log.pending):
            row = record.stored
            events.append(
                NewEvent(
                    id=row.id,
                    stream=row.stream,
                    type=row.type,
                    schema=row.schema,
                    register=row.register,
                    data=row.data,
                    meta=row.meta,
                    correlation=row.correlation,
                    causation=row.causation,
                    nonce=row.nonce,
                    expect=aggregate.log.version if index == 0 else ANY,
                )
            )
    return check_append(Append(tuple(events), (), observed))


def _is_original(created: object) -> bool:
    """Whether this looks like a stamp of the original TypeScript library."""
    return isinstance(created, str) and re.fullmatch("[0-9a-z]{1,11}-[0-9]{5}", created) is not None


def _names(relations: Iterable[str]) -> tuple[str, ...]:
    if isinstance(relations, str):
        raise InvalidInput(f"relations= is a list of names; write [{relations!r}]")
    return tuple(relations)
