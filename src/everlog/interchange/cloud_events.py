"""CloudEvents 1.0 in their JSON format, one a line or as a batch.

    {"specversion":"1.0","id":"...","source":"urn:everlog:LEDGER","type":"user:created",
     "subject":"user-1","time":"2026-01-31T12:00:00.000Z","datacontenttype":"application/json",
     "data":{"email":"jane@doe.com"},"correlationid":"...","causationid":"...",
     "everlogmeta":"null","everlogcreated":"...","everlogschema":1,"everlogregister":"...",
     "everlognonce":"..."}

The stream is the `subject`, the origin the `source`. What CloudEvents has no word for stands in
extension attributes, so that a ledger which reads them gets the same records, hash for hash.
Of other programs' events, the id becomes `SOURCE#ID`, as an id is unique within its source only.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from json.encoder import encode_basestring as _quote
from typing import Any

from everlog.core.portable import canonical, parse
from everlog.core.record import StoredRecord
from everlog.core.stamp import is_stamp
from everlog.core.stream import MAX_NAME_BYTES
from everlog.errors import InvalidInput
from everlog.interchange.fields import Fields
from everlog.interchange.foreign import Births, time_of

SOURCE = "urn:everlog:"

_LONG_IDS = uuid.UUID("7a0b0e4c-6b56-5d8e-9f0a-3c1f6f7d2b11")
"""The namespace of ids that stand for longer ones; changing it changes ids."""


def encode(record: StoredRecord) -> str:
    """Returns a record as a CloudEvent, on one line."""
    row = record
    caused = "" if row.causation is None else f',"causationid":{_quote(row.causation)}'
    return (
        f'{{"specversion":"1.0","id":{_quote(row.id)},"source":{_quote(SOURCE + row.origin)}'
        f',"type":{_quote(row.type)},"subject":{_quote(row.stream)}'
        f',"time":"{time_of(row.created)}","datacontenttype":"application/json"'
        f',"data":{row.data},"correlationid":{_quote(row.correlation)}{caused}'
        f',"everlogmeta":{_quote(row.meta)},"everlogcreated":"{row.created}"'
        f',"everlogschema":{row.schema},"everlogregister":{_quote(row.register)}'
        f',"everlognonce":"{base64.b64encode(row.nonce).decode()}"}}'
    )


def is_cloud_event(fields: Fields) -> bool:
    """Whether this is a CloudEvent."""
    return "specversion" in fields


def decode(fields: Fields, births: Births) -> StoredRecord:
    """Returns the record of a CloudEvent."""
    version = fields.text("specversion")
    if version != "1.0":
        fields.refuse(f"specversion is {version[:20]!r}; this reads 1.0")
    if "everlognonce" in fields:
        return _of_ours(fields, births)
    source, id = fields.text("source"), fields.text("id")
    return births.record(
        fields,
        id=_one_id(source, id),
        stream=fields.text_or("subject", source),
        type=fields.text("type"),
        created=births.of_time(fields, fields.text_or_none("time")),
        correlation=fields.text_or_none("correlationid"),
        causation=fields.text_or_none("causationid"),
        data=_data(fields),
        meta="null",
    )


def _of_ours(fields: Fields, births: Births) -> StoredRecord:
    source, created = fields.text("source"), fields.text("everlogcreated")
    if not source.startswith(SOURCE):
        fields.refuse(f"source must begin with {SOURCE}")
    if not is_stamp(created):
        fields.refuse("everlogcreated is no stamp")
    try:
        nonce = base64.b64decode(fields.text("everlognonce"), validate=True)
        meta = canonical(parse(fields.text("everlogmeta"), at="everlogmeta"))
    except (binascii.Error, InvalidInput) as error:
        fields.refuse(f"its extension attributes cannot be read: {error}")
    return births.record(
        fields,
        id=fields.text("id"),
        stream=fields.text("subject"),
        type=fields.text("type"),
        created=created,
        schema=fields.number("everlogschema"),
        register=fields.text("everlogregister"),
        origin=source.removeprefix(SOURCE),
        correlation=fields.text("correlationid"),
        causation=fields.text_or_none("causationid"),
        nonce=nonce,
        data=fields.content("data"),
        meta=meta,
    )


def _one_id(source: str, id: str) -> str:
    joined = f"{source}#{id}"
    if len(joined.encode("utf-8", "replace")) <= MAX_NAME_BYTES:
        return joined
    return str(uuid.uuid5(_LONG_IDS, joined.encode("utf-8", "replace").decode()))


def _data(fields: Fields) -> str:
    if "data_base64" in fields:
        fields.refuse("its data is bytes (data_base64), which an event cannot hold; send JSON")
    kind = fields.text_or("datacontenttype", "application/json").partition(";")[0].strip().lower()
    data: Any = fields.json("data")
    if not (kind == "application/json" or kind.endswith("+json") or type(data) is str):
        fields.refuse(f"its data is {kind[:40]!r}; this reads JSON, or text")
    return fields.content("data")
