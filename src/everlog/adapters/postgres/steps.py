"""The steps from an empty database to today's schema: `migrations/*.sql`, with its name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from psycopg import sql

from everlog.adapters.postgres import migrations
from everlog.adapters.postgres.connections import Place
from everlog.adapters.postgres.executing import quoted
from everlog.errors import InvalidInput
from everlog.ports.migration import Migration


class Shipped(NamedTuple):
    """A step as it lies in its file, with `:"schema"` where the name goes."""

    number: int
    name: str
    text: str

    @property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@cache
def shipped() -> tuple[Shipped, ...]:
    """Returns all steps that this everlog knows, in order."""
    found: list[Shipped] = []
    for file in files(migrations).iterdir():
        matched = re.fullmatch(r"(\d{4})_(\w+)\.sql", file.name)
        if matched:
            found.append(Shipped(int(matched[1]), matched[2], file.read_text(encoding="utf-8")))
    return tuple(sorted(found))


def steps_for(schema: str, steps: Iterable[Shipped]) -> list[Migration]:
    """Returns steps as they are run in a schema: each ends by saying that it was done."""
    return [
        Migration(
            step.number,
            step.name,
            f"{_filled_in(step.text, schema).rstrip()}\n\n{_done(step, schema)}\n",
            step.digest,
        )
        for step in steps
    ]


def script(place: Place, steps: Sequence[Migration], *, grant_to: str | None) -> str:
    """Returns steps as one script, and what a role needs that uses the ledger; or an empty text."""
    if not steps and grant_to is None:
        return ""
    return "\n".join(
        [
            _HEAD,
            # As `migrating.apply` does: the locks of migrations and of commits, in this order.
            "DO $$ BEGIN",
            f"    PERFORM pg_advisory_xact_lock({place.migration_key});",
            f"    PERFORM pg_advisory_xact_lock({place.lock_key});",
            "END $$;\n",
            *(f"-- {step.number:04} {step.name}\n\n{step.sql}" for step in steps),
            *([] if grant_to is None else [_grants(place.schema, grant_to)]),
            "COMMIT;\n",
        ]
    )


_HEAD = """\
-- A schema of everlog: all of it takes effect, or nothing. Whoever runs it owns the tables.
-- With psql: psql -v ON_ERROR_STOP=1 -f FILE postgresql://...

BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
"""


def _grants(schema: str, role: str) -> str:
    """Returns what a role needs that appends: no more, so that it cannot even try to alter records.

    Raises `InvalidInput` for what can be no role.
    """
    if not role or not role.isprintable() or len(role.encode()) > 63:
        raise InvalidInput("the name of the role to grant to must be 1 to 63 bytes of text")
    text = (files(migrations) / "grants.sql").read_text(encoding="utf-8")
    return _filled_in(text, schema).replace(':"role"', quoted(role))


def _done(step: Shipped, schema: str) -> str:
    values = sql.SQL(", ").join(map(sql.Literal, (step.number, step.name, step.digest)))
    statement = "INSERT INTO {}.migrations (number, name, digest) VALUES ({});"
    return sql.SQL(statement).format(sql.Identifier(schema), values).as_string(None)


def _filled_in(text: str, schema: str) -> str:
    literal = sql.Literal(schema).as_string(None)
    return text.replace(':"schema"', quoted(schema)).replace(":'schema'", literal)
