"""`migrate`: a ledger's schema is brought up to date, or what it lacks is told, without `await`."""

from __future__ import annotations

from os import PathLike
from typing import Any

from everlog.blocking.portal import portal
from everlog.ports.migration import Migration
from everlog.store import migrating


def migrate(url: str | PathLike[str], *, dry_run: bool = False, **options: Any) -> list[Migration]:
    """Applies what the ledger that a URL names lacks, and creates it where there is none.

    - `url`: as of `EventStore.open`. Only a ledger in PostgreSQL needs migrations: for all others
      nothing is done
    - `dry_run`: changes nothing; whoever may read the ledger may ask
    - `options`: as of `EventStore.open`

    Returns the steps that were applied, or would be, in order. They take effect all together or not
    at all; any number of processes may migrate at once, and each step is applied by one of them.

    Raises `InvalidUrl`, `NotSupported` without the driver, and `CannotOpen`, as where the role may
    not create what is lacking (or its `ForeignFile`, `NewerFormat`).

    >>> with postgres() as server:
    ...     url = server.new_database()
    ...     print([step.name for step in migrate(url)])
    ...     print([step.name for step in migrate(url)])
    ['ledger', 'subscriptions', 'sync']
    []
    """
    return portal().run(migrating.migrate, url, dry_run=dry_run, **options)


def migration_script(
    url: str | PathLike[str], *, whole: bool = False, grant_to: str | None = None, **options: Any
) -> str:
    """Returns what `migrate` would do as SQL, to be read and run by somebody else, as with psql.

    - `url`, `options`: as of `EventStore.open`
    - `whole`: from an empty database on, without asking the server: of the URL only its kind and
      `schema` matter then
    - `grant_to`: adds what this role needs to read and append, and no more

    Returns an empty text where nothing is lacking. The script is one transaction.

    Raises what `migrate` raises, and `InvalidInput` for what can be no name of a role.

    >>> script = migration_script("postgresql://?schema=audit", whole=True, grant_to="app")
    >>> for line in script.splitlines():
    ...     if "records TO" in line:
    ...         print(line)
    GRANT SELECT, INSERT ON "audit".records TO "app";
    GRANT UPDATE (nonce, data, meta) ON "audit".records TO "app";
    """
    return portal().run(migrating.migration_script, url, whole=whole, grant_to=grant_to, **options)
