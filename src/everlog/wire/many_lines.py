"""Lines of records, all that come together at once: in half of the time, by msgspec.

What is read is written again, and compared. So there is nothing in a text that was read here but
what was found in it: no key twice, no other order, no space. Whatever is not written as `records`
writes it is for the reader there, which reads all that this reads, and says the same.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec

from everlog.core.record import StoredRecord, as_record
from everlog.wire.json_text import MOST, octets_of

_Number = Annotated[int, msgspec.Meta(ge=0, le=MOST)]
_Hex = Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


class _Inner(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    # In the order in which they are written.
    id: str
    stream: str
    type: str
    schema: Annotated[int, msgspec.Meta(ge=1, le=MOST)]
    register: str
    origin: str
    correlation: str
    causation: str | None
    created: str
    nonce: _Hex
    data: str
    meta: str
    hash: _Hex


class _Line(msgspec.Struct, gc=False, forbid_unknown_fields=True, omit_defaults=True):
    record: _Inner
    position: _Number
    version: _Number
    flags: Annotated[int, msgspec.Meta(ge=0, le=255)]
    recorded: str
    chain: _Hex
    hub_version: _Number | None = None
    receipt: _Hex | None = None


_decode = msgspec.json.Decoder(_Line).decode_lines
_encode = msgspec.json.Encoder().encode_lines


class Many(NamedTuple):
    """What lines say, each of these in their order."""

    records: list[StoredRecord]
    versions: list[int | None]
    """What a hub is told of their versions."""
    receipts: list[bytes | None]


def read_many(text: bytes) -> Many | None:
    """Returns what whole lines say; None if one of them is written in another way."""
    try:
        lines = _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    if _encode(lines) != text:
        return None
    records: list[StoredRecord] = []
    receipts: list[bytes | None] = []
    for line in lines:
        inner, receipt = line.record, line.receipt
        raw = octets_of(inner.nonce + inner.hash + line.chain + (receipt or ""))
        if raw is None:
            return None
        # fmt: off
        records.append(as_record((
            line.position, line.version, inner.id, inner.stream, inner.type, inner.schema,
            inner.register, inner.origin, inner.correlation, inner.causation, inner.created,
            line.recorded, line.flags, raw[:32], inner.data, inner.meta, raw[32:64], raw[64:96],
        )))
        # fmt: on
        receipts.append(raw[96:] or None)
    return Many(records, [line.hub_version for line in lines], receipts)
