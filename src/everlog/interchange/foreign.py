"""Events that were born in no ledger: what makes records of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from everlog.core.chain import HYDRATED, NONCE_BYTES
from everlog.core.record import StoredRecord, computed_hash
from everlog.core.stamp import Clock, from_original, last_stamp_of, parse_stamp, stamp_time
from everlog.errors import EverlogError, InvalidInput, InvalidStamp
from everlog.interchange.fields import Fields


class Into(Protocol):
    """The ledger that they are to be born in, as `store.info()` and `ledger.identity` are."""

    @property
    def ledger(self) -> str: ...
    @property
    def node(self) -> str: ...


@dataclass(slots=True)
class Births:
    """Gives what comes from elsewhere stamps, origin and nonce."""

    into: Into
    now_ms: Callable[[], int]
    random_bytes: Callable[[int], bytes]
    _last: str = field(default="0" * 32)

    def of_time(self, fields: Fields, text: str | None) -> str:
        """Returns the stamp of a time in RFC 3339; of none, one behind that before it.

        Those of one millisecond keep the order in which they stand in the file.
        """
        if text is None:
            ms = self.now_ms() if self._last == "0" * 32 else parse_stamp(self._last)[0]
        else:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                fields.refuse(f"{text[:40]!r} is no time, such as 2026-01-31T12:00:00Z")
            if moment.utcoffset() is None:
                fields.refuse(f"{text[:40]!r} lacks a time zone, such as Z")
            try:
                ms = parse_stamp(last_stamp_of(moment.astimezone(UTC), where="time"))[0]
            except (InvalidStamp, OverflowError):
                fields.refuse(f"{text[:40]!r} lies before 1970")
        last_ms, counter, _ = parse_stamp(self._last)
        clock = Clock(ms, counter + 1 if ms == last_ms and counter < 65_535 else 0, self.into.node)
        self._last = clock.stamp
        return clock.stamp

    def of_original(self, text: str) -> str:
        """Returns the stamp of one of the original library."""
        return from_original(text, node=self.into.node)

    def record(
        self,
        fields: Fields,
        *,
        id: str,
        stream: str,
        type: str,
        created: str,
        recorded: str | None = None,
        schema: int = 1,
        register: str | None = None,
        origin: str | None = None,
        correlation: str | None = None,
        causation: str | None = None,
        nonce: bytes | None = None,
        data: str,
        meta: str,
    ) -> StoredRecord:
        """Returns the record; raises `InvalidInput` with the line."""
        stored = StoredRecord(
            position=0,
            version=0,
            id=id,
            stream=stream,
            type=type,
            schema=schema,
            register=type if register is None else register,
            origin=self.into.ledger if origin is None else origin,
            correlation=id if correlation is None else correlation,
            causation=causation,
            created=created,
            recorded=created if recorded is None else recorded,
            flags=HYDRATED,
            nonce=self.random_bytes(NONCE_BYTES) if nonce is None else nonce,
            data=data,
            meta=meta,
            hash=b"",
            chain=b"",
        )
        try:
            return stored._replace(hash=computed_hash(stored))
        except (EverlogError, UnicodeEncodeError, ValueError) as error:
            raise InvalidInput(f"line {fields.line}: {error}") from None


def time_of(stamp: str) -> str:
    """Returns the moment of a stamp in RFC 3339, to the millisecond; raises `InvalidStamp`."""
    return stamp_time(stamp).isoformat(timespec="milliseconds").replace("+00:00", "Z")
