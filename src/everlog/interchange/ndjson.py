"""Our own form: a record a line, with everything that its hash is made of. Nothing is lost.

    {"position":1,"version":1,"id":"...","stream":"user-1","type":"user:created","schema":1,
     "register":"user:created","origin":"...","correlation":"...","causation":null,"created":"...",
     "recorded":"...","flags":[],"data":{"email":"jane@doe.com"},"meta":null,"nonce":"...",
     "hash":"...","chain":"..."}

Without the line breaks, that is. Bytes are in hex. `position`, `version`, `recorded`, `flags` and
`chain` are of the ledger that was written out; all else is the same in every ledger.
"""

from __future__ import annotations

from json.encoder import encode_basestring as _quote

from everlog.core.chain import HYDRATED, ORPHAN, OUTDATED, RESTAMPED, RETURNED
from everlog.core.record import StoredRecord
from everlog.interchange.fields import Fields

_FLAGS = {
    HYDRATED: "hydrated",
    OUTDATED: "outdated",
    RETURNED: "returned",
    ORPHAN: "orphan",
    RESTAMPED: "restamped",
}
_NAMES = [
    "[" + ",".join(f'"{name}"' for bit, name in _FLAGS.items() if flags & bit) + "]"
    for flags in range(1 << len(_FLAGS))
]


def encode(record: StoredRecord) -> str:
    """Returns a record as JSON on one line."""
    # Written out: it is on the path of every record that leaves.
    # fmt: off
    (
        position, version, id, stream, type, schema, register, origin, correlation, causation,
        created, recorded, flags, nonce, data, meta, hash, chain,
    ) = record
    # fmt: on
    caused = "null" if causation is None else _quote(causation)
    named, nonce_hex = _NAMES[flags], f'"{nonce.hex()}"' if nonce else "null"
    if not data:
        # What went stays gone: its place, envelope and hash remain.
        data, meta = "null", "null"
        named = '["tombstone"]' if named == "[]" else f'["tombstone",{named[1:]}'
    return (
        f'{{"position":{position},"version":{version},"id":{_quote(id)},"stream":{_quote(stream)}'
        f',"type":{_quote(type)},"schema":{schema},"register":{_quote(register)}'
        f',"origin":{_quote(origin)},"correlation":{_quote(correlation)},"causation":{caused}'
        f',"created":"{created}","recorded":"{recorded}","flags":{named}'
        f',"data":{data},"meta":{meta}'
        f',"nonce":{nonce_hex},"hash":"{hash.hex()}","chain":"{chain.hex()}"}}'
    )


def is_ours(fields: Fields) -> bool:
    """Whether this is a record in our form."""
    return "hash" in fields and "register" in fields


def decode(fields: Fields) -> StoredRecord | None:
    """Returns the record, whose hash is still to be checked; None for one that no fold has.

    That is an orphan, or a tombstone: what stays of a record whose content went.
    """
    flags = fields.names("flags")
    if "orphan" in flags or "tombstone" in flags:
        return None
    created = fields.text("created")
    return StoredRecord(
        position=fields.number_or("position", 0),
        version=fields.number_or("version", 0),
        id=fields.text("id"),
        stream=fields.text("stream"),
        type=fields.text("type"),
        schema=fields.number("schema"),
        register=fields.text("register"),
        origin=fields.text("origin"),
        correlation=fields.text("correlation"),
        causation=fields.text_or_none("causation"),
        created=created,
        recorded=fields.text_or("recorded", created),
        flags=HYDRATED,
        nonce=fields.octets("nonce"),
        data=fields.content("data"),
        meta=fields.content("meta"),
        hash=fields.octets("hash"),
        chain=b"",
    )
