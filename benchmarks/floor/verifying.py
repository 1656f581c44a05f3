"""Every hash and the chain, computed again from what is stored, whatever the database."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from json.encoder import encode_basestring as quote
from typing import Any

GENESIS = hashlib.sha256(b"everlog:chain:1").digest()


class Verifying:
    """A walk through a whole log, page by page."""

    def __init__(self) -> None:
        self.count = 0
        """So many records were right."""
        self._chain = GENESIS

    def check(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Goes on with the next rows; raises `ValueError` at one that is damaged."""
        chain, count = self._chain, self.count
        for row in rows:
            count += 1
            again = hash_of(row)
            chain = hashlib.sha256(
                chain + again + row[1].to_bytes(8, "big") + row[12].to_bytes(1, "big")
            ).digest()
            if (again, chain, count) != (row[16], row[17], row[0]):
                raise ValueError(f"record {row[0]} is damaged")
        self._chain, self.count = chain, count


def hash_of(row: tuple[Any, ...]) -> bytes:
    """Returns the hash that a record's content and envelope give."""
    # fmt: off
    (_, _, id, stream, type, schema, register, origin, correlation, causation, created, _, _,
     nonce, data, meta, _, _) = row
    # fmt: on
    message = f'{{"data":{data},"meta":{meta}}}'.encode()
    envelope = (
        f'{{"causation":{"null" if causation is None else quote(causation)}'
        f',"commitment":"{hmac.digest(nonce, message, "sha256").hex()}"'
        f',"correlation":{quote(correlation)},"created":"{created}","format":1'
        f',"id":{quote(id)},"origin":"{origin}","register":{quote(register)}'
        f',"schema":{schema},"stream":{quote(stream)},"type":{quote(type)}}}'
    )
    return hashlib.sha256(envelope.encode()).digest()
