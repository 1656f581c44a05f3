"""The documents are true: their programs run, their links lead somewhere."""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
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
    program, blocking = code_of(ROOT / "README.md", "python")
    done = run(program, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "1 1 account:opened Opened(owner='Jane')",
        "2 2 money:deposited Deposited(cents=500)",
        "3 3 money:deposited Deposited(cents=250)",
        "750 cents",
    ]
    done = run(blocking, tmp_path)  # in the same folder, where whoever reads on tries it
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["1 1 money:deposited Deposited(cents=500)"]


def test_the_quick_start_is_as_short_as_it_says() -> None:
    program, _ = code_of(ROOT / "README.md", "python")
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


# Named because they are not there, or not in a fresh copy.
NOT_THERE = {"utils.py", "uv.lock", ".venv/"}


def files_named_in(text: str) -> list[str]:
    """The files and folders in `code` of a text: what has a slash or the ending of a file."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    path = r"`((?:[\w.*-]+/)+(?:[\w.*-]+)?|[\w-]+\.(?:py|md|toml|txt|json|lock|sql))`"
    return re.findall(path, prose)


def files_missing(names: Iterable[str], document: Path) -> list[str]:
    """Those that are found neither from the root, nor in the package, nor beside the document."""
    package = ROOT / "src" / "everlog"

    def there(name: str) -> bool:
        if name in NOT_THERE:
            return True
        if "/" not in name and any(package.rglob(name)):  # `reading.py`, which every adapter has
            return True
        places = (ROOT, ROOT / "src", package, document.parent)
        return any(any(place.glob(name.rstrip("/"))) for place in places)

    return [name for name in names if not there(name)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_files_that_a_document_names_exist(document: Path) -> None:
    named = files_named_in(document.read_text("utf-8"))
    print(named)
    assert files_missing(named, document) == []


def test_the_files_that_documents_name_are_found_in_all_their_spellings() -> None:
    named = {name for document in DOCUMENTS for name in files_named_in(document.read_text("utf-8"))}
    assert {
        "core/sequencer.py",  # from the package
        "tests/core/vectors.json",  # from the root
        "everlog/testing/contract/",  # a folder
        "adapters/*/reading.py",  # in each
        "tables.py",  # the name alone
        "requirements/dev.txt",
    } <= named


def test_a_file_that_a_document_names_and_that_is_missing_is_told() -> None:
    text = """See `core/made_up.py`, `made_up.md`, `tests/made_up/`, `adapters/*/made_up.py` and
    `core/sequencer.py`, `docs/adr/`, `store.read()`, `sqlite:///users.db`, `everlog.testing`.
```sh
cat `core/in_a_program.py`
```
"""
    missing = ["core/made_up.py", "made_up.md", "tests/made_up/", "adapters/*/made_up.py"]
    assert files_named_in(text) == [*missing, "core/sequencer.py", "docs/adr/"]
    assert files_missing(files_named_in(text), ROOT / "README.md") == missing
