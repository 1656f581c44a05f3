"""A mutant: this library with one of its defences taken away, and the tests that must notice."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """What is changed, as data. The text must stand in the file exactly once."""

    name: str
    takes_away: str
    """The defence that is missing then, in a few words."""
    file: str
    """Below src/everlog."""
    source: str
    replacement: str
    killed_by: tuple[str, ...]
    """Every one of these tests must fail. Without [...], at least one of its cases."""


# Where most killers stand.
MEMORY = "tests/contract/test_memory.py::TestMemory::"
SQLITE = "tests/contract/test_sqlite.py::TestSqlite::"
POSTGRES = "tests/contract/test_postgres.py::TestPostgres::"
SQLITE_VIEWS = "tests/contract/checkpoints/test_sqlite.py::TestSqliteFile::"
ANYWHERE = (
    "tests/store/test_cancellation.py::"
    "test_an_append_called_off_anywhere_is_wholly_there_or_not_and_a_retry_by_id_settles_it"
)
