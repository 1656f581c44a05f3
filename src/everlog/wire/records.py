"""Records on the wire: all that chain hashes, and their place in the ledger that gives them.

    {"record": {"id", "stream", "type", "schema", "register", "origin", "correlation", "causation",
                "created", "nonce", "data", "meta", "hash"},
     "position", "version", "flags", "recorded", "chain"}

What is in `record` is the same in every ledger; what is beside it is the giver's own. `data` and
`meta` are texts that hold JSON: the very text that is stored and hashed, so that whoever verifies
a hash need not write JSON as we do. Bytes are lower-case hex; `flags` is the number that is hashed.
"""

from __future__ import annotations

import json.decoder
import re
from collections.abc import Callable, Mapping
from functools import cache
from json.encoder import encode_basestring as _quote
from typing import TYPE_CHECKING, Any

from everlog.core.chain import HASH_BYTES, NONCE_BYTES
from everlog.core.record import StoredRecord, as_record
from everlog.wire.json_text import (
    MOST,
    an_object,
    number,
    number_or_none,
    octets,
    octets_of,
    octets_or_none,
    text,
    text_or_none,
)
from everlog.wire.messages import Offer, as_offer
from everlog.wire.protocol import MAX_LINE_BYTES

if TYPE_CHECKING:
    from everlog.wire.many_lines import Many

RECEIPT_BYTES = 32


def record_line(record: StoredRecord, receipt: bytes | None = None) -> bytes:
    """Returns a record as a line of NDJSON, with the receipt that was given with it."""
    end = "}\n" if receipt is None else f',"receipt":"{receipt.hex()}"}}\n'
    return (_body(record) + end).encode()


def record_text(record: StoredRecord) -> str:
    """Returns a record as a JSON object."""
    return _body(record) + "}"


def read_record(fields: Mapping[str, Any], *, at: str = "line") -> StoredRecord:
    """Returns the record of an object, every field of its kind; its content is not yet judged."""
    inner, in_ = an_object(fields, "record", at=at), f"{at}.record"
    # In the order of the fields.
    return StoredRecord(
        number(fields, "position", at=at),
        number(fields, "version", at=at),
        text(inner, "id", at=in_),
        text(inner, "stream", at=in_),
        text(inner, "type", at=in_),
        number(inner, "schema", at=in_, least=1),
        text(inner, "register", at=in_),
        text(inner, "origin", at=in_),
        text(inner, "correlation", at=in_),
        text_or_none(inner, "causation", at=in_),
        text(inner, "created", at=in_),
        text(fields, "recorded", at=at),
        number(fields, "flags", at=at, most=255),
        octets(inner, "nonce", at=in_, size=NONCE_BYTES),
        text(inner, "data", at=in_),
        text(inner, "meta", at=in_),
        octets(inner, "hash", at=in_, size=HASH_BYTES),
        octets(fields, "chain", at=at, size=HASH_BYTES),
    )


def read_line(line: bytes | str) -> Offer | None:
    """Returns the record of a line that is written as here, with what stands behind it.

    On the path of every record that comes, and nearly all are: it takes little more than half of
    the time that JSON in general takes. None for any other line, be it wrong, or only written in
    another way: that is for `read_object` and the others here, which read all that this reads, and
    say the same.
    """
    if len(line) > MAX_LINE_BYTES:
        return None
    try:
        plain = line if isinstance(line, str) else line.decode()
        head = _HEAD(plain)
        if head is None:
            return None
        data, at = _unescape(plain, head.end())
        if not plain.startswith(_META, at):
            return None
        meta, at = _unescape(plain, at + len(_META))
        if not (data.isascii() and meta.isascii()) and "\\u" in plain:
            return None  # perhaps half of a surrogate pair
        tail = _TAIL(plain, at)
        if tail is None:
            return None
        id, stream, type, schema_, register, origin, correlation, causation, created, nonce = (
            head.groups()
        )
        hash, position_, version_, flags_, recorded, chain, hub_version_, receipt = tail.groups()
        raw = octets_of(nonce + hash + chain + (receipt or ""))
    except ValueError:  # no UTF-8, or no text of JSON
        return None
    schema, position, version, flags = int(schema_), int(position_), int(version_), int(flags_)
    hub_version = None if hub_version_ is None else int(hub_version_)
    if (
        raw is None
        or not (1 <= schema <= MOST and position <= MOST and version <= MOST and flags <= 255)
        or (hub_version or 0) > MOST
    ):
        return None
    # fmt: off
    record = as_record((
        position, version, id, stream, type, schema, register, origin, correlation, causation,
        created, recorded, flags, raw[:32], data, meta, raw[32:64], raw[64:96],
    ))
    # fmt: on
    return as_offer((record, hub_version, raw[96:] or None))


def read_lines(text: bytes) -> Many | None:
    """Returns what whole lines say that are written as here, of each what `read_offer` returns.

    In half of the time of `read_line`, where msgspec is installed. None if any of them is written
    in another way, if they are longer together than one may be, and where msgspec is not.
    """
    read_many = _by_msgspec()
    # So none of them is longer than a line may be.
    return None if read_many is None or len(text) > MAX_LINE_BYTES else read_many(text)


@cache
def _by_msgspec() -> Callable[[bytes], Many | None] | None:
    try:
        from everlog.wire.many_lines import read_many
    except (ImportError, AttributeError):  # it is not there, or too old
        return None
    return read_many


def read_receipt(fields: Mapping[str, Any], *, at: str = "line") -> bytes | None:
    """Returns the receipt of a line; None if it has none."""
    return octets_or_none(fields, "receipt", at=at, size=RECEIPT_BYTES)


def offer_line(offer: Offer) -> bytes:
    """Returns an offer as a line of NDJSON: a record as here, and what the hub has given it once.

    `hub_version` is the version that it has had at the hub, and `receipt` what it came with.
    """
    more = "" if offer.version is None else f',"hub_version":{offer.version}'
    if offer.receipt is not None:
        more += f',"receipt":"{offer.receipt.hex()}"'
    return f"{_body(offer.record)}{more}}}\n".encode()


def read_offer(fields: Mapping[str, Any], *, at: str = "line") -> Offer:
    """Returns the offer of an object."""
    return Offer(
        read_record(fields, at=at),
        number_or_none(fields, "hub_version", at=at),
        read_receipt(fields, at=at),
    )


def _body(record: StoredRecord) -> str:
    # Written out: it is on the path of every record that leaves.
    # fmt: off
    (
        position, version, id, stream, type, schema, register, origin, correlation, causation,
        created, recorded, flags, nonce, data, meta, hash, chain,
    ) = record
    # fmt: on
    caused = "null" if causation is None else _quote(causation)
    return (
        f'{{"record":{{"id":{_quote(id)},"stream":{_quote(stream)},"type":{_quote(type)}'
        f',"schema":{schema},"register":{_quote(register)},"origin":{_quote(origin)}'
        f',"correlation":{_quote(correlation)},"causation":{caused}'
        f',"created":{_quote(created)},"nonce":"{nonce.hex()}","data":{_quote(data)}'
        f',"meta":{_quote(meta)},"hash":"{hash.hex()}"}}'
        f',"position":{position},"version":{version},"flags":{flags}'
        f',"recorded":{_quote(recorded)},"chain":"{chain.hex()}"'
    )


# A line as `_body` writes it, but for the texts of data and meta: those may be long, and a pattern
# takes a hundred times the memory of what is escaped in them. Whether it is hex, `read_line` finds
# out for all of it at once.
_TEXT, _NUMBER, _HEX = r'"([^"\\\x00-\x1f]*+)"', "(0|[1-9][0-9]{0,18})", '"(.{64})"'
_HEAD = re.compile(
    rf'\{{"record":\{{"id":{_TEXT},"stream":{_TEXT},"type":{_TEXT},"schema":{_NUMBER}'
    rf',"register":{_TEXT},"origin":{_TEXT},"correlation":{_TEXT},"causation":(?:null|{_TEXT})'
    rf',"created":{_TEXT},"nonce":{_HEX},"data":"'
).match
_META = ',"meta":"'
_TAIL = re.compile(
    rf',"hash":{_HEX}\}},"position":{_NUMBER},"version":{_NUMBER},"flags":{_NUMBER}'
    rf',"recorded":{_TEXT},"chain":{_HEX}(?:,"hub_version":{_NUMBER})?(?:,"receipt":{_HEX})?\}}'
).fullmatch
# What every JSON string is read by; public, and only the types do not know of it.
_unescape: Callable[[str, int], tuple[str, int]] = getattr(json.decoder, "scanstring")  # noqa: B009
