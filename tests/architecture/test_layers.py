"""The import contracts of pyproject.toml hold, and each goes red when it is broken."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs import-linter on the package in `folder`/src, by the contracts in `folder`."""
    # Not in-process: the linter would find the installed everlog, not the copy.
    program = (
        "import sys; sys.path.insert(0, 'src');"
        "from importlinter.cli import lint_imports;"
        "sys.exit(lint_imports(no_cache=True))"
    )
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the package and its contracts, to plant violations in."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(
        ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    return tmp_path


def test_every_module_imports_only_what_its_layer_may() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("module", "planted", "contract"),
    [
        ("core/planted.py", "import everlog.store", "A layer imports only those below it"),
        ("errors.py", "import everlog.core", "A layer imports only those below it"),
        ("utils.py", "", "- everlog.utils"),
        ("core/planted.py", "import everlog", "Nothing in the package imports its public face"),
        ("store/planted.py", "import everlog.testing", "Nothing in the package imports everlog.t"),
        ("adapters/memory/planted.py", "import everlog.adapters.sqlite", "unaware of each other"),
        ("adapters/memory/planted.py", "import everlog.subscriptions", "Adapters keep records"),
        ("store/planted.py", "import everlog.adapters.memory", "Only everlog.connect imports"),
        ("core/planted.py", "import time", "Core has no clock"),
        ("core/planted.py", "from threading import Lock", "Core has no clock"),
        ("core/planted.py", "def f() -> None:\n    import asyncio", "Core has no clock"),
        ("store/planted.py", "import sqlite3", "Only everlog.adapters.sqlite imports sqlite3"),
        ("store/planted.py", "import psycopg", "Only everlog.adapters.postgres imports psycopg"),
        ("server/planted.py", "import everlog.blocking", "A layer imports only those below it"),
        ("wire/planted.py", "import everlog.sync", "A layer imports only those below it"),
        ("wire/planted.py", "import asyncio", "The wire has no socket"),
        ("sync/planted.py", "import starlette", "Only everlog.server imports starlette"),
        ("store/planted.py", "import everlog.server", "A layer imports only those below it"),
        ("server/planted.py", "import everlog.adapters.memory", "Only everlog.connect imports"),
        ("cli/planted.py", "import psycopg_pool", "Only everlog.adapters.postgres imports psycopg"),
        ("cli/planted.py", "import everlog.store.migrating", "The command line uses the public"),
        ("cli/planted.py", "import everlog.adapters.postgres", "The command line uses the public"),
        ("store/planted.py", "import everlog.cli", "A layer imports only those below it"),
        ("testing/planted.py", "import everlog.cli", "A layer imports only those below it"),
        ("store/planted.py", "import everlog.blocking", "A layer imports only those below it"),
        ("blocking/planted.py", "import everlog", "Nothing in the package imports its public face"),
        ("blocking/planted.py", "import everlog.testing", "A layer imports only those below it"),
        ("blocking/planted.py", "import everlog.adapters.memory", "Only everlog.connect imports"),
        ("blocking/planted.py", "import sqlite3", "Only everlog.adapters.sqlite imports sqlite3"),
    ],
)
def test_a_planted_violation_goes_red(copy: Path, module: str, planted: str, contract: str) -> None:
    path = copy / "src" / "everlog" / module
    before = path.read_text(encoding="utf-8") if path.exists() else ""
    path.write_text(f"{before}\n{planted}\n", encoding="utf-8")
    done = lint(copy)
    assert done.returncode == 1, done.stdout + done.stderr
    broken = [
        line for line in done.stdout.splitlines() if "BROKEN" in line or line.startswith("- ")
    ]
    assert contract in "\n".join(broken), done.stdout
