"""The documents are true: their programs run, their links lead somewhere."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if not path.name.startswith(".")
)


def code_of(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text("utf-8"), re.M | re.S)


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )


def test_the_quick_start_of_the_readme_runs_and_says_what_it_should(tmp_path: Path) -> None:
    [program] = code_of(ROOT / "README.md", "python")
    done = run(program, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "1 1 account:opened Opened(owner='Jane')",
        "2 2 money:deposited Deposited(cents=500)",
        "3 3 money:deposited Deposited(cents=250)",
        "750 cents",
    ]


def test_the_quick_start_is_as_short_as_it_says() -> None:
    [program] = code_of(ROOT / "README.md", "python")
    statements = [line for line in program.splitlines() if line.strip()]
    assert len(statements) <= 25


def test_the_readme_names_two_commands_and_dev_py_knows_them() -> None:
    [commands] = code_of(ROOT / "README.md", "sh")
    named = re.findall(r"^python3 dev\.py (\w+)", commands, re.M)
    assert named == ["demo", "test"]
    help_text = subprocess.run(
        [sys.executable, ROOT / "dev.py", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert all(re.search(rf"^\s+{name}\b", help_text, re.M) for name in named)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_in_a_document_leads_to_a_file(document: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", document.read_text("utf-8"))
    missing = [
        target
        for target in targets
        if not target.startswith("http") and not (document.parent / target).exists()
    ]
    assert missing == []


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "docs/adr/0003-hash-and-chain.md"])
def test_the_files_that_a_document_names_exist(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    named = re.findall(r"`((?:core|ports|store|adapters|subscriptions)/[\w/]+\.py)`", text)
    assert named
    missing = [file for file in named if not (ROOT / "src" / "everlog" / file).exists()]
    assert missing == []
