"""Schemas with an empty ledger, for one test after another.

Making one costs more than most tests: it has some forty files. Emptied, it is as it was when it was
made, with another identity.
"""

from __future__ import annotations

import re
import secrets

import psycopg
from psycopg.sql import SQL, Identifier

from everlog.adapters.postgres.steps import shipped, steps_for
from everlog.core.sequencer import Identity

# What the migration says of a head with nothing behind it.
[_BEGINNING] = re.findall(r'INSERT INTO :"schema"\.ledger_head .*?;', shipped()[0].text, re.DOTALL)


class Schemas:
    """The schemas of one database that tests take and give back; to be closed."""

    def __init__(self, url: str, *, patience_ms: int = 10_000) -> None:
        self.url = url
        self._free: list[str] = []
        self._connection = psycopg.connect(url, autocommit=True)
        # A transaction that a test has left open is told of as that test's.
        patience = "SELECT set_config('lock_timeout', %s, false)"
        self._connection.execute(patience, [f"{patience_ms}ms"])

    def take(self) -> str:
        """Returns the name of a schema that is nobody else's: new, or one with an empty ledger."""
        return self._free.pop() if self._free else f"t{secrets.token_hex(8)}"

    def make(self, name: str, identity: Identity) -> None:
        """Makes a ledger there, if there is none, and makes it this one."""
        connection, here = self._connection, Identifier(name)
        if not tables_of(connection, name):
            steps = steps_for(name, shipped())
            connection.execute("\n".join(step.sql for step in steps).encode())
        connection.execute(
            SQL("UPDATE {}.ledger_head SET ledger = %s, node = %s, epoch = %s").format(here),
            [identity.ledger, identity.node, identity.epoch],  # sql: the name is quoted
        )

    def give_back(self, *names: str) -> None:
        """Empties the schemas. Their ledgers must have been closed."""
        self._free += [name for name in names if empty(self._connection, name)]

    def close(self) -> None:
        """Closes the connection by which schemas are emptied."""
        self._connection.close()


def tables_of(connection: psycopg.Connection, schema: str) -> list[str]:
    """Returns the tables of a ledger; none where there is no ledger."""
    tables = connection.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = %s AND tablename <> 'migrations'",
        [schema],
    ).fetchall()
    return [table for (table,) in tables]


def empty(connection: psycopg.Connection, schema: str) -> bool:
    """Makes a ledger as good as new; returns False where there is none."""
    tables = tables_of(connection, schema)
    if not tables:
        return False
    here = Identifier(schema)
    records = SQL("ALTER TABLE {}.records ").format(here)
    statements = [
        records + SQL("DISABLE TRIGGER USER"),
        # Not truncated: that would make all the files anew.
        *(SQL("DELETE FROM {}.{}").format(here, Identifier(table)) for table in tables),
        records + SQL("ENABLE ALWAYS TRIGGER records_are_never_changed"),
        records + SQL("ENABLE ALWAYS TRIGGER records_are_never_emptied"),
    ]
    with connection.transaction():
        for statement in statements:
            connection.execute(statement)  # sql: every name is quoted
        connection.execute(_BEGINNING.replace(':"schema"', here.as_string()).encode())
    return True
