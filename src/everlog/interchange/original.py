"""Records of the original, the TypeScript library "Event Store", as JSON.

    {"id":"...","stream":"user-1","type":"user:created","data":{"email":"jane@doe.com"},"meta":{},
     "created":"mkdsn5a8-00003","recorded":"mkdsn5a8-00003"}

It knows no schema, register, origin or cause, and its clock no node: written so, those are lost.
Read, an event is born in the ledger that takes it in; its stamps keep time and counter.
"""

from __future__ import annotations

from json.encoder import encode_basestring as _quote

from everlog.core.record import StoredRecord
from everlog.core.stamp import to_original
from everlog.errors import InvalidStamp
from everlog.interchange.fields import Fields
from everlog.interchange.foreign import Births


def encode(record: StoredRecord) -> str:
    """Returns a record as one of the original, on one line."""
    # It has {} where there is nothing, and we have null.
    data = "{}" if record.data == "null" else record.data
    meta = "{}" if record.meta == "null" else record.meta
    return (
        f'{{"id":{_quote(record.id)},"stream":{_quote(record.stream)}'
        f',"type":{_quote(record.type)},"data":{data},"meta":{meta}'
        f',"created":"{to_original(record.created)}","recorded":"{to_original(record.recorded)}"}}'
    )


def is_original(fields: Fields) -> bool:
    """Whether this is a record of the original."""
    return all(name in fields for name in ("id", "stream", "type", "created", "recorded"))


def decode(fields: Fields, births: Births) -> StoredRecord:
    """Returns the record of one of the original."""
    try:
        created = births.of_original(fields.text("created"))
        recorded = births.of_original(fields.text_or("recorded", fields.text("created")))
    except InvalidStamp as error:
        fields.refuse(str(error))
    return births.record(
        fields,
        id=fields.text("id"),
        stream=fields.text("stream"),
        type=fields.text("type"),
        created=created,
        recorded=recorded,
        data=fields.content("data"),
        meta=fields.content("meta"),
    )
