"""Text has one order, by code point, whatever the order of the database is."""

from __future__ import annotations

from tests.adapters.schema import Schema
from tests.store.watched import run

NEVER_ORDERED = {
    *("ledger", "node", "epoch", "state", "name", "digest"),
    *("error", "mark", "status", "token"),  # of subscriptions
    *("marks", "past", "reason", "record", "scope", "strict"),  # of upstreams
}
"""Text that is compared for equality, if at all."""


def test_no_text_is_in_the_order_of_its_database(schema: Schema) -> None:
    async def main() -> None:
        async with schema.store():
            pass

    run(main)
    found = schema.ask(
        "SELECT DISTINCT attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = attrelid "
        "JOIN pg_collation AS o ON o.oid = attcollation "
        "WHERE relnamespace = %s::regnamespace AND relkind = 'r' AND collname <> 'C'",
        schema.name,
    )
    assert {column for (column,) in found} == NEVER_ORDERED
