"""What has happened before, as a test tells it: records with the flags that a ledger gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from everlog.core.event import event_type_of
from everlog.core.record import Record
from everlog.core.stamp import stamp_time
from everlog.testing.builders import HERE, record_of, stamp_of
from everlog.testing.clock import BEGINNING

ELSEWHERE = "fedcba9876543210fedcba9876543210"
"""The origin of hydrated records."""


class History:
    """Records in the order of their arrival, numbered and flagged as in a ledger.

    Unless said otherwise, each event is created one second after all before it. One that is created
    earlier is late: only an import brings it, so it is hydrated; and it is outdated if a newer
    record of its register stands in its stream.
    """

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.records: list[Record[Any]] = []
        self._versions: dict[str, int] = {}
        self._newest: dict[tuple[str, str], tuple[str, str]] = {}
        self._counters: dict[datetime, int] = {}

    @property
    def folded(self) -> list[Record[Any]]:
        """The records in the order of folds: by `(created, id)`."""
        return sorted(self.records, key=lambda record: record.stored.order)

    def add(
        self,
        items: Sequence[object],
        *,
        stream: str | None,
        meta: object,
        created: datetime | str | None,
        hydrated: bool | None,
        outdated: bool | None,
    ) -> list[Record[Any]]:
        """Adds events, or records as they are, and returns their records."""
        added: list[Record[Any]] = []
        for item in items:
            if isinstance(item, Record):
                record: Record[Any] = cast("Record[object]", item)
            else:
                record = self._record(
                    item,
                    stream=self.stream if stream is None else stream,
                    meta=meta,
                    created=created,
                    hydrated=hydrated,
                    outdated=outdated,
                )
            self._note(record)
            added.append(record)
        return added

    def _record(
        self,
        event: object,
        *,
        stream: str,
        meta: object,
        created: datetime | str | None,
        hydrated: bool | None,
        outdated: bool | None,
    ) -> Record[Any]:
        newest = max((record.created for record in self.records), default=None)
        if created is None:
            created = after(self.records)
        stamp = stamp_of(created, where="created")
        if isinstance(created, datetime):
            # Events of one moment keep the order in which they are told.
            counter = self._counters.get(created, 0)
            self._counters[created] = counter + 1
            stamp = stamp_of(created, where="created", counter=counter)
        if hydrated is None:
            hydrated = newest is not None and stamp < newest
        version = self._versions.get(stream, 0) + 1
        id = f"{stream}#{version}"
        if outdated is None:
            before = self._newest.get((stream, event_type_of(type(event)).register))
            outdated = before is not None and before > (stamp, id)
        return record_of(
            event,
            stream=stream,
            version=version,
            position=len(self.records) + 1,
            created=stamp,
            recorded=max(stamp, newest or stamp),
            hydrated=hydrated,
            outdated=outdated,
            meta=meta,
            id=id,
            origin=ELSEWHERE if hydrated else HERE,
        )

    def _note(self, record: Record[Any]) -> None:
        self.records.append(record)
        self._versions[record.stream] = max(
            self._versions.get(record.stream, 0) + 1, record.version
        )
        key = (record.stream, record.register)
        self._newest[key] = max(self._newest.get(key, ("", "")), record.stored.order)


def after(records: Iterable[Record[Any]]) -> datetime:
    """Returns a second after all records; the beginning of time if there are none."""
    newest = max((record.created for record in records), default=None)
    return BEGINNING if newest is None else stamp_time(newest) + timedelta(seconds=1)
