"""The hash of a record, and the chain of a ledger.

All of it is byte-exact and meant to be implemented elsewhere: `tests/core/vectors.json`.

    commitment = HMAC-SHA256(key = nonce (32 bytes), message = {"data":DATA,"meta":META})
    hash       = SHA-256(canonical envelope)
    chain[0]   = SHA-256("everlog:chain:1")
    chain[p]   = SHA-256(chain[p-1] | hash[p] | version as 8 bytes big-endian | flags as 1 byte)

DATA and META are the canonical JSON that is stored, so that verifying re-encodes nothing. The
envelope is the canonical JSON object (RFC 8785: keys sorted, no white space) of format, id, stream,
type, schema, register, origin, correlation, causation, created and commitment (64 lower-case hex
characters); `causation` is null where nothing caused the event. Without its nonce a commitment
cannot be found by guessing the content, so content and nonce can be erased while the hash stays
valid.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from json.encoder import encode_basestring as _quote

FORMAT = 1
"""The version of the envelope's form; part of the envelope."""

NONCE_BYTES = 32
HASH_BYTES = 32

_BLOCK_BYTES = 64
"""Of SHA-256. A nonce is no longer."""
_INNER, _OUTER = (bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))

GENESIS = hashlib.sha256(b"everlog:chain:1").digest()
"""chain[0], the same in every ledger: two ledgers agree about nothing having happened yet."""

HYDRATED = 1
"""Flag: the record came from replay, recovery or another ledger."""
OUTDATED = 2
"""Flag: a newer record of its register stood in its stream when it was recorded here."""
RETURNED = 4
"""Flag, beside `HYDRATED`: it was born here and forgotten, and another ledger gave it back."""
ORPHAN = 8
"""Flag: an event of a strict stream whose place another had taken. It is kept, and not folded; it
has the version of the last event before it that counts."""
RESTAMPED = 16
"""Flag: another record of its event was here before, as the event was stamped anew."""
FLAGS = HYDRATED | OUTDATED | RETURNED | ORPHAN | RESTAMPED
"""All flags that there are."""


def commit_to(nonce: bytes, data: str, meta: str) -> str:
    """Returns the commitment to canonical data and meta, as 64 hex characters."""
    message = f'{{"data":{data},"meta":{meta}}}'.encode()
    # HMAC (RFC 2104), written out: `hmac.digest` takes half as long again, and lets go of Python's
    # lock each time. Beside another thread a check of records then spends more on that than on the
    # hash: 25,000 changes of thread in a catch-up of 40,000 records, and 3,000 without.
    key = nonce.ljust(_BLOCK_BYTES, b"\0")
    inner = hashlib.sha256(key.translate(_INNER) + message).digest()
    return hashlib.sha256(key.translate(_OUTER) + inner).hexdigest()


def envelope(
    id: str,
    stream: str,
    type: str,
    schema: int,
    register: str,
    origin: str,
    correlation: str,
    causation: str | None,
    created: str,
    commitment: str,
) -> bytes:
    """Returns the canonical JSON of the envelope, in bytes of UTF-8."""
    # Written out and not encoded from a dict: it is a fixed object with sorted keys, this is on the
    # path of every append, and the property tests hold it against a general RFC 8785 encoder.
    return (
        f'{{"causation":{"null" if causation is None else _quote(causation)}'
        f',"commitment":"{commitment}"'
        f',"correlation":{_quote(correlation)}'
        f',"created":"{created}"'
        f',"format":{FORMAT}'
        f',"id":{_quote(id)}'
        f"{_envelope_end(origin, register, schema, stream, type)}"
    ).encode()


@lru_cache(maxsize=4096, typed=True)
def _envelope_end(origin: str, register: str, schema: int, stream: str, type: str) -> str:
    # What the events of one stream and type share is quoted once.
    return (
        f',"origin":{_quote(origin)}'
        f',"register":{_quote(register)}'
        f',"schema":{schema}'
        f',"stream":{_quote(stream)}'
        f',"type":{_quote(type)}}}'
    )


def hash_of(
    id: str,
    stream: str,
    type: str,
    schema: int,
    register: str,
    origin: str,
    correlation: str,
    causation: str | None,
    created: str,
    nonce: bytes,
    data: str,
    meta: str,
) -> bytes:
    """Returns the 32 bytes that stand for the event in every ledger."""
    committed = commit_to(nonce, data, meta)
    said = envelope(
        id, stream, type, schema, register, origin, correlation, causation, created, committed
    )
    return hashlib.sha256(said).digest()


def link(previous: bytes, hash: bytes, *, version: int, flags: int) -> bytes:
    """Returns the chain after one more record, from the chain before it."""
    return hashlib.sha256(
        previous + hash + version.to_bytes(8, "big") + flags.to_bytes(1, "big")
    ).digest()
