"""What the database itself lets happen to a record: it may become a tombstone, and nothing else."""

from __future__ import annotations

import psycopg
import pytest

from everlog.core.record import StoredRecord
from everlog.testing import record_of
from tests.adapters.schema import Schema
from tests.store.watched import Noted, run

TOMBSTONE = "UPDATE {}.records SET nonce = NULL, data = NULL, meta = NULL"
KEPT = {
    "position": "position + 10",
    "version": "version + 10",
    "id": "id || 'x'",
    "stream": "stream || 'x'",
    "type": "type || 'x'",
    "schema": "schema + 1",
    "register": "register || 'x'",
    "origin": "origin || 'x'",
    "correlation": "correlation || 'x'",
    "causation": "coalesce(causation, '') || 'x'",
    "created": "created || 'x'",
    "recorded": "recorded || 'x'",
    "flags": "flags + 1",
    "hash": "hash || '\\x00'::bytea",
    "chain": "chain || '\\x00'::bytea",
    "late": "NOT late",
    "size": "size + 1",
}
"""Every column that a tombstone keeps, and another value for it."""
GONE = {"nonce": "'\\x00'::bytea", "data": "'2'::json", "meta": "'3'::json"}
"""Every column that it has no more, and a value for it."""

refused = pytest.raises(psycopg.errors.IntegrityConstraintViolation, match="everlog: records are")


def two_records(schema: Schema) -> None:
    async def main() -> None:
        async with schema.store() as store:
            await store.append("a", Noted(1))
            caused = record_of(Noted(2), causation="stream-1#1")
            await store.import_records([caused])

    run(main)


def rows(schema: Schema) -> list[tuple[object, ...]]:
    return schema.ask("SELECT * FROM {}.records ORDER BY position")


def test_a_record_may_become_a_tombstone_and_stays_one(schema: Schema) -> None:
    two_records(schema)
    before = rows(schema)
    schema.ask(TOMBSTONE + " WHERE position = 2")
    [first, second] = rows(schema)
    assert first == before[0]
    names = [name for [name] in schema.ask(COLUMNS, schema.name)]
    assert {*names} == {*KEPT, *GONE} >= {*StoredRecord._fields}
    for name, was, now in zip(names, before[1], second, strict=True):
        assert now == (None if name in GONE else was), name
    for statement in (
        "DELETE FROM {}.records WHERE position = 2",
        *(f"UPDATE {{}}.records SET {name} = {value}" for name, value in {**KEPT, **GONE}.items()),
    ):
        with refused:
            schema.ask(statement.removesuffix(" WHERE position = 2") + " WHERE position = 2")
    with refused:
        schema.ask("TRUNCATE {}.records")
    assert rows(schema) == [first, second]


COLUMNS = (
    "SELECT attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = attrelid "
    "WHERE relnamespace = %s::regnamespace AND relname = 'records' AND attnum > 0 ORDER BY attnum"
)


def test_on_its_way_to_a_tombstone_a_record_keeps_every_other_column(schema: Schema) -> None:
    two_records(schema)
    before = rows(schema)
    for position in (1, 2):  # one was caused by nothing, the other by the first
        for name, value in KEPT.items():
            with refused:
                schema.ask(f"{TOMBSTONE}, {name} = {value} WHERE position = {position}")
        for name, value in GONE.items():
            half = TOMBSTONE.replace(f"{name} = NULL", f"{name} = {value}")
            with refused:
                schema.ask(f"{half} WHERE position = {position}")
    with refused:
        schema.ask(f"{TOMBSTONE}, causation = NULL WHERE position = 2")
    assert rows(schema) == before


REFILLED = "UPDATE {}.records SET nonce = '\\x00'::bytea, data = '2'::json, meta = '3'::json"


def test_only_a_tombstone_is_given_content_and_all_of_it_at_once(schema: Schema) -> None:
    two_records(schema)
    schema.ask(TOMBSTONE + " WHERE position = 2")
    before = rows(schema)
    with refused:
        schema.ask(REFILLED + " WHERE position = 1")
    for name, value in KEPT.items():
        with refused:
            schema.ask(f"{REFILLED}, {name} = {value} WHERE position = 2")
    for name, value in GONE.items():
        with refused:
            half = REFILLED.replace(f"{name} = {value}", f"{name} = NULL")
            schema.ask(half + " WHERE position = 2")
    assert rows(schema) == before
    schema.ask(REFILLED + " WHERE position = 2")
    assert rows(schema)[0] == before[0]
    assert rows(schema)[1] != before[1]


def test_it_is_the_triggers_that_refuse(schema: Schema) -> None:
    two_records(schema)
    schema.ask("ALTER TABLE {}.records DISABLE TRIGGER USER")
    for name, value in {**KEPT, **GONE}.items():
        before = rows(schema)
        schema.ask(f"UPDATE {{}}.records SET {name} = {value} WHERE position >= 2")
        assert rows(schema) != before, name
    schema.ask("TRUNCATE {}.records")
    assert rows(schema) == []
