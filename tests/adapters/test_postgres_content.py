"""What is stored is what was hashed, byte for byte, whatever way it goes in."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Any

import pytest

from everlog import EventStore, event, to
from everlog.adapters.postgres.writing import COPY_FROM
from tests.adapters.schema import Schema

HOSTILE_TO_JSONB: dict[str, Any] = {
    "order of keys": {"bb": 1, "a": 2, "": 3, "aa": 4},
    "order by code units": {"\ufb33": 1, "\U0001f600": 2},
    "a large number": 1e300,
    "a small number": 5e-324,
    "an exponent": 1e21,
    "spaces": [1, {"a": []}],
}
"""What PostgreSQL's jsonb would write in another way."""

HOSTILE_TO_TEXT: dict[str, str] = {
    "an end of COPY": "\\.",
    "a NULL of COPY": "\\N",
    "escapes of COPY": "\\t\\n\\\\ \\x41",
    "what is escaped": '\b\f\n\r\t\x1f\x7f"\\/',
    "separators": "\u2028\u2029\x85,;|",
    "placeholders": "%s %(id)s %% {} {schema} $1",
    "quotes": "' '' \" $$ E'\\'' --",
    "an array": '{1,"2",NULL}',
    "all planes": "\u00e9\u4e2d\ud7ff\ue000\uffff\U00010000\U0010ffff",
    "many planes": "\u00e9\u4e2d\U0001f600",
    "not composed": "e\u0301 \u00e9",
    "nothing": "",
    "a space": " ",
}

HOSTILE_NAMES = [
    *(text for text in HOSTILE_TO_TEXT.values() if text and text.isprintable()),
    *("NULL", "{}", "0", '""'),
]


@event("any")
@dataclass
class Said:
    value: Any = None


CONTENTS: dict[str, Any] = {**HOSTILE_TO_JSONB, **HOSTILE_TO_TEXT}
WAYS = {"one by one": 0, "together": 0, "by COPY": COPY_FROM}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("guesses", [False, True], ids=["by a look", "by a guess"])
def test_content_and_names_are_kept_as_they_were_hashed(
    schema: Schema, way: str, guesses: bool
) -> None:
    events = [Said(content) for content in CONTENTS.values()]
    items = [to("content", each, meta=None) for each in events]
    items += [
        to(name, Said(name), id=f"id {name}", relations=[name] if way == "by COPY" else [])
        for name in HOSTILE_NAMES
    ]
    items += [to("more", Said(number)) for number in range(WAYS[way])]

    async def main() -> None:
        ledger = await schema.ledger()
        async with EventStore(ledger, events=[Said]) as store:
            for _ in range(3 if guesses else 0):
                await store.append("warm", Said())
            before = (await store.info()).position
            if way == "one by one":
                for item in items:
                    await store.append_many([item])
            else:
                await store.append_many(items)
            records = await store.read(after=before).to_list()
            assert [record.data for record in records] == [item.event for item in items]
            assert [record.stream for record in records] == [item.stream for item in items]
            stored = schema.ask(
                "SELECT data::text, meta::text, stream, id FROM {}.records "
                "WHERE position > %s ORDER BY position",
                before,
            )
            for record, row in zip(records, stored, strict=True):
                kept = record.stored
                assert row == (kept.data, kept.meta, kept.stream, kept.id)
            for name in HOSTILE_NAMES:
                found = await store.find(f"id {name}")
                assert found is not None
                assert found.stream == name
            assert (await store.verify()).ok

    asyncio.run(main())


def test_an_imported_record_is_kept_as_it_was_hashed(schema: Schema) -> None:
    async def main() -> None:
        async with EventStore.open("memory:", events=[Said]) as elsewhere:
            for name, content in CONTENTS.items():
                await elsewhere.append(name, Said(content))
            for name in HOSTILE_NAMES:
                await elsewhere.append(name, Said(name), ids=[f"id {name}"])
            wanted = [record.stored async for record in elsewhere.read()]
            async with EventStore(await schema.ledger(), events=[Said]) as store:
                await store.import_records(elsewhere.read())
                found = [record.stored async for record in store.read()]
                assert [row[2:11] + row[13:17] for row in found] == [
                    row[2:11] + row[13:17] for row in wanted
                ]
                assert (await store.verify()).ok

    asyncio.run(main())


def test_jsonb_would_have_written_it_in_another_way(schema: Schema) -> None:
    for name, content in HOSTILE_TO_JSONB.items():
        text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        [[as_jsonb]] = schema.ask("SELECT %s::jsonb::text", text)
        assert as_jsonb != text, name
