"""What a commit that failed is told to have been, and how often it is tried."""

from __future__ import annotations

import pytest

from everlog import EventStore
from everlog.errors import LedgerBusy, StorageFailed, StorageFull
from tests.adapters.schema import Schema
from tests.store.watched import Noted, run

# So often the head cannot be moved, with this code. A sequence counts also what is rolled back.
_REFUSING = """
CREATE SEQUENCE {}.tries;
CREATE FUNCTION {}.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('{}.tries') <= TG_ARGV[1]::int THEN
        RAISE EXCEPTION 'refused by a test' USING ERRCODE = TG_ARGV[0];
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse BEFORE UPDATE ON {}.ledger_head
    FOR EACH ROW EXECUTE FUNCTION {}.refuse('%s', '%d')
"""


def refuse(schema: Schema, sqlstate: str, times: int) -> None:
    schema.ask("DROP TRIGGER IF EXISTS refuse ON {}.ledger_head")
    schema.ask("DROP SEQUENCE IF EXISTS {}.tries")
    schema.ask("DROP FUNCTION IF EXISTS {}.refuse")
    schema.ask(_REFUSING % (sqlstate, times))


def tries(schema: Schema) -> int:
    [[count]] = schema.ask("SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM {}.tries")
    assert isinstance(count, int)
    return count


async def settled(store: EventStore) -> None:
    for _ in range(3):
        await store.append("warm", Noted())


guessing = pytest.mark.parametrize("guesses", [False, True], ids=["by a look", "by a guess"])


@guessing
@pytest.mark.parametrize(
    "sqlstate", ["40001", "40P01", "55006", "53300", "57P03", "08006", "XX000"]
)
def test_what_passes_is_tried_again_and_nobody_hears_of_it(
    schema: Schema, sqlstate: str, guesses: bool
) -> None:
    async def main() -> None:
        async with schema.store() as store:
            if guesses:
                await settled(store)
            refuse(schema, sqlstate, times=2)
            records = await store.append("a", Noted(1), ids=["id"])
            assert [record.id for record in records] == ["id"]
            assert tries(schema) == 3
            assert (await store.verify()).ok

    run(main)


@guessing
@pytest.mark.parametrize(
    ("sqlstate", "raises"),
    [
        ("23514", StorageFailed),
        ("42501", StorageFailed),
        ("53100", StorageFull),
        ("55P03", LedgerBusy),
        ("P0001", StorageFailed),
    ],
)
def test_what_does_not_pass_is_tried_once_and_is_known_not_to_be_written(
    schema: Schema, sqlstate: str, raises: type[Exception], guesses: bool
) -> None:
    async def main() -> None:
        async with schema.store() as store:
            if guesses:
                await settled(store)
            head = await store.info()
            refuse(schema, sqlstate, times=2)
            for count in (1, 2):
                with pytest.raises(raises):
                    await store.append("a", Noted(1), ids=["id"])
                assert tries(schema) == count
            assert await store.info() == head
            [record] = await store.append("a", Noted(1), ids=["id"])
            assert record.version == 1

    run(main)
