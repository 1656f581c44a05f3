"""Preparing: from events as a program hands them in to a request that can be committed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from everlog.core.aggregate import AggregateRoot
from everlog.core.chain import HYDRATED, NONCE_BYTES
from everlog.core.event import Registry
from everlog.core.record import Record, StoredRecord, computed_hash
from everlog.core.sequencer import Append, NewEvent, check_append
from everlog.core.stamp import from_original, last_stamp_of, moment_bound
from everlog.core.stream import ANY, Expectation, check_expectation, check_name
from everlog.errors import InvalidInput
from everlog.store.ids import IdSource
from everlog.subscriptions.causation import Cause, current_cause


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
        related = tuple((relation, stream) for relation in _names(relations)) if events else ()
        nonces = self._random_bytes(NONCE_BYTES * len(events))
        cause = current_cause()
        prepared: list[NewEvent] = []
        for index, event in enumerate(events):
            id = self._ids.next() if ids is None else ids[index]
            nonce = nonces[NONCE_BYTES * index : NONCE_BYTES * (index + 1)]
            prepared.append(self._new(stream, event, meta, id, cause, nonce, expect))
            expect = ANY
        return check_append(Append(tuple(prepared), tuple(dict.fromkeys(related)), observed))

    def append_many(self, items: Sequence[To], *, observed: str) -> Append:
        """Returns a checked request; raises `InvalidInput` of the kind that says what is wrong."""
        nonces = self._random_bytes(NONCE_BYTES * len(items))
        cause = current_cause()
        prepared: list[NewEvent] = []
        relations: list[tuple[str, str]] = []
        for index, item in enumerate(items):
            # From programs that no type checker has seen.
            if not isinstance(item, To):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidInput(f"append_many takes to(stream, event, ...), not {item!r:.60}")
            stream, event, meta, expect, id, related = item
            check_expectation(expect)
            if id is None:
                id = self._ids.next()
            nonce = nonces[NONCE_BYTES * index : NONCE_BYTES * (index + 1)]
            prepared.append(self._new(stream, event, meta, id, cause, nonce, expect))
            relations += ((relation, stream) for relation in related)
        return check_append(Append(tuple(prepared), tuple(dict.fromkeys(relations)), observed))

    def _new(
        self,
        stream: str,
        event: object,
        meta: object,
        id: str,
        cause: Cause,
        nonce: bytes,
        expect: Expectation,
    ) -> NewEvent:
        declared = self._registry.of_event(event)
        data, meta_text = declared.encode(event, meta)
        # By position: on the path of every append.
        return NewEvent(
            id,
            stream,
            declared.type,
            declared.schema,
            declared.register,
            data,
            meta_text,
            cause.correlation or id,
            cause.causation,
            nonce,
            expect,
        )

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
