"""`import everlog` loads what every program needs, and leaves the rest until it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.scenarios.processes import environment

NOT_NEEDED = {
    "pydantic",
    "pydantic_core",
    "msgspec",
    "sqlite3",
    "_sqlite3",
    "multiprocessing",
    "http",
    "email",
    "unittest",
    "everlog.adapters",
    "everlog.blocking",
    "everlog.testing",
}
"""Not here: ssl, socket and subprocess, which asyncio loads by itself."""


def loaded_by(program: str) -> set[str]:
    """Returns the modules that a program has loaded at its end."""
    program += "\nimport sys, json; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    return set(json.loads(done.stdout))


def test_import_everlog_loads_no_engine_no_driver_and_no_adapter() -> None:
    loaded = loaded_by("import everlog")
    assert "everlog.store.event_store" in loaded
    assert loaded & NOT_NEEDED == set()


def test_import_everlog_blocking_brings_nothing_else_and_starts_no_thread() -> None:
    program = "import everlog.blocking, threading; assert threading.active_count() == 1"
    assert loaded_by(program) & NOT_NEEDED == {"everlog.blocking"}


@pytest.mark.parametrize(
    ("program", "brings"),
    [
        ("import everlog, pydantic", "pydantic"),
        ("import everlog.connect, everlog.adapters.sqlite.ledger", "sqlite3"),
        ("import everlog, multiprocessing", "multiprocessing"),
        ("import everlog.blocking", "everlog.blocking"),
    ],
)
def test_a_module_that_is_loaded_too_early_is_seen(program: str, brings: str) -> None:
    assert brings in loaded_by(program) & NOT_NEEDED


def test_a_program_on_memory_with_structs_needs_neither_pydantic_nor_sqlite() -> None:
    program = """
import asyncio, msgspec
from everlog import EventStore, event

@event("a")
class A(msgspec.Struct):
    b: int

async def main():
    async with EventStore.open("memory:", events=[A]) as store:
        await store.append("stream", A(1))

asyncio.run(main())
"""
    assert loaded_by(program) & {"pydantic", "pydantic_core", "sqlite3"} == set()
