"""Where logs are kept: files of SQLite in a folder, schemas of PostgreSQL on a server.

What needs psycopg is imported where it is used: the memory of a process is measured, too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

SQLITE, POSTGRES = "sqlite", "postgres"

TITLES: Mapping[str, str] = {SQLITE: "SQLite", POSTGRES: "PostgreSQL"}

New = Callable[[str], str]
"""Returns the address of a new, empty log of this name."""


class Database(Protocol):
    """One that logs are kept in."""

    @property
    def name(self) -> str: ...

    @property
    def settings(self) -> Mapping[str, str]:
        """What it says about itself, as far as that is one setting for all sides."""
        ...

    def room(self) -> AbstractContextManager[New]:
        """Within it there can be new logs, each of another name; at its end they are gone."""
        ...

    def settle(self, address: str) -> None:
        """Does what the database would do by itself, sooner or later, after much was written."""
        ...


@contextmanager
def opened(name: str) -> Generator[Database]:
    """Yields the database of this name, a PostgreSQL server started for it if need be."""
    if name == SQLITE:
        with tempfile.TemporaryDirectory(prefix="everlog-bench-") as folder:
            yield Files(Path(folder))
    else:
        from benchmarks import postgres

        with postgres.server() as url:
            yield Schemas(url, postgres.settings_of(url))


@dataclass(frozen=True, slots=True)
class Files:
    """SQLite: a log is a file, and its address the path."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    name: str = SQLITE

    @contextmanager
    def room(self) -> Generator[New]:
        """Yields what names files in a new folder."""
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            yield lambda name: str(Path(folder) / f"{name}.db")

    def settle(self, address: str) -> None:
        """Does nothing: the last connection that was closed has made a checkpoint."""


@dataclass(frozen=True, slots=True)
class Schemas:
    """PostgreSQL: a log is a schema, and its address a URL that names it."""

    url: str
    settings: Mapping[str, str]
    name: str = POSTGRES

    @contextmanager
    def room(self) -> Generator[New]:
        """Yields what makes schemas."""
        from benchmarks import postgres

        made: list[str] = []

        def new(_: str) -> str:
            made.append(postgres.create_schema(self.url))
            return postgres.address(self.url, made[-1])

        try:
            yield new
        finally:
            for schema in made:
                postgres.drop_schema(self.url, schema)

    def settle(self, address: str) -> None:
        """Does what autovacuum does, not in the middle of a measurement."""
        from benchmarks import postgres

        postgres.vacuum(address)
