"""`Migration`: a step from an older schema of a database to a newer one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of a ledger's schema, as it is run.

    >>> with postgres() as server:
    ...     for step in await migrate(server.new_database(), dry_run=True):
    ...         print(step.number, step.name)
    1 ledger
    2 subscriptions
    3 sync
    """

    number: int
    name: str
    sql: str
    """Its statements, with the name of the schema filled in; the last one says that it was done."""
    digest: str
    """The SHA-256 of its text as shipped, in hex: kept with its number when it is applied."""
