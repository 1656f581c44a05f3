"""What comes of a batch after a head: positions, versions, stamps, hashes and the chain."""

from __future__ import annotations

import hashlib
import hmac
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from json.encoder import encode_basestring as quote
from typing import Any, NamedTuple, TypeAlias

from benchmarks.floor.sqlite_floor import Appending, IdConflict, Row, WrongVersion

Outcome: TypeAlias = "list[Row] | Exception"


class Log(NamedTuple):
    """What never changes: who the log is, and the one type of event."""

    origin: str
    node: str
    type: str
    encode: Callable[[Any], bytes]
    decode: Callable[[str | bytes], Any]
    """Makes an event of the JSON that is stored; raises if it is not valid."""


class Head(NamedTuple):
    """How far the log has got."""

    position: int
    chain: bytes
    clock: int


class New(NamedTuple):
    """An event that the server is to place, encoded and validated."""

    stream: str
    id: str
    nonce: bytes
    commitment: str
    data: str
    meta: str


class Placing:
    """One batch."""

    def __init__(
        self, log: Log, head: Head, versions: dict[str, int], stored: Mapping[str, Row]
    ) -> None:
        """`versions`: of the streams of the batch, and moved on; `stored`: rows of known ids."""
        self.head = head
        """Moved on, once all rows have been given."""
        self.outcomes: list[Outcome] = []
        self.rows_placed = 0
        self._log, self._versions, self._stored = log, versions, stored
        self._registers: dict[str, Row] = {}

    def rows(self, batch: Sequence[Appending]) -> Iterator[Row]:
        """Yields the rows to store; what comes of each appending is in `outcomes` by then."""
        log, versions, outcomes = self._log, self._versions, self.outcomes
        sha256, digest, urandom, encode = hashlib.sha256, hmac.digest, os.urandom, log.encode
        origin, node, type, validate = log.origin, log.node, log.type, log.decode
        middle = f',"origin":"{origin}","register":{quote(type)},"schema":1,"stream":'
        position, chain, clock = self.head
        now_ms = time.time_ns() // 1_000_000
        now = now_ms << 16
        id_time = f"{now_ms:012x}"
        id_time = f"{id_time[:8]}-{id_time[8:]}-7"
        for appending in batch:
            stream, events, meta, expect, ids = appending
            version = versions[stream]
            if ids is not None and any(id in self._stored for id in ids):
                outcomes.append(self._retried(appending, ids))
                continue
            if expect is not None and expect != version:
                outcomes.append(WrongVersion(f"{stream} is at {version}, not at {expect}"))
                continue
            end = f'{middle}{quote(stream)},"type":{quote(type)}}}'
            meta_text = meta.decode()
            placed: list[Row] = []
            outcomes.append(placed)
            for number, event in enumerate(events):
                position += 1
                version += 1
                clock = now if now > clock else clock + 1
                created = f"{clock:016x}{node}"
                nonce = urandom(32)
                if ids is None:
                    chance = urandom(10).hex()
                    id = f"{id_time}{chance[:3]}-8{chance[3:6]}-{chance[6:18]}"
                else:
                    id = ids[number]
                data = encode(event)
                validate(data)
                commitment = digest(nonce, b'{"data":%b,"meta":%b}' % (data, meta), "sha256").hex()
                envelope = (
                    f'{{"causation":null,"commitment":"{commitment}","correlation":"{id}"'
                    f',"created":"{created}","format":1,"id":"{id}"{end}'
                )
                hashed = sha256(envelope.encode()).digest()
                chain = sha256(chain + hashed + version.to_bytes(8, "big") + b"\0").digest()
                # fmt: off
                row = (
                    position, version, id, stream, type, 1, type, origin, id, None, created,
                    created, 0, nonce, data.decode(), meta_text, hashed, chain,
                )
                # fmt: on
                placed.append(row)
                yield row
            versions[stream] = version
            self._registers[stream] = placed[-1]
        self.rows_placed = position - self.head.position
        self.head = Head(position, chain, clock)

    def columns(self, rows: Sequence[Row]) -> tuple[object, ...]:
        """Returns the values of these rows, as the statements for many take them."""
        join = "\n".join
        columns = list(zip(*rows, strict=True))
        hashes = b"".join([part for row in rows for part in (row[13], row[16], row[17])])
        # fmt: off
        return (
            rows[0][0] - 1, join(map(str, columns[1])), join(columns[2]), join(columns[3]),
            join(columns[10]), join(columns[14]), join(columns[15]), hashes, self._log.type,
            self._log.origin,
        )
        # fmt: on

    def registers(self) -> tuple[object, ...]:
        """Returns the newest of each register, as the statements take them."""
        rows = self._registers.values()
        texts = ("\n".join([row[column] for row in rows]) for column in (3, 10, 2))
        return (self._log.type, *texts)

    def _retried(self, appending: Appending, ids: Sequence[str]) -> Outcome:
        for id, event in zip(ids, appending.events, strict=True):
            row = self._stored.get(id)
            due = (appending.stream, self._log.encode(event).decode(), appending.meta.decode())
            if row is None or (row[3], row[14], row[15]) != due:
                return IdConflict(id)
        return [self._stored[id] for id in ids]


def prepare(log: Log, batch: Sequence[Appending]) -> list[New]:
    """Returns the events of a batch for the server to place."""
    urandom, digest, encode, validate = os.urandom, hmac.digest, log.encode, log.decode
    id_time = f"{time.time_ns() // 1_000_000:012x}"
    id_time = f"{id_time[:8]}-{id_time[8:]}-7"
    found: list[New] = []
    for stream, events, meta, _, _ in batch:
        meta_text = meta.decode()
        for event in events:
            nonce = urandom(32)
            chance = urandom(10).hex()
            id = f"{id_time}{chance[:3]}-8{chance[3:6]}-{chance[6:18]}"
            data = encode(event)
            validate(data)
            commitment = digest(nonce, b'{"data":%b,"meta":%b}' % (data, meta), "sha256").hex()
            found.append(New(stream, id, nonce, commitment, data.decode(), meta_text))
    return found
