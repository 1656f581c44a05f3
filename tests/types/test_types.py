"""Both type checkers, as strict as they get, accept the programs of the quick start."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[2]
PROGRAMS = [
    *sorted(str(path.relative_to(ROOT)) for path in (ROOT / "examples/quickstart").glob("*.py")),
    "tests/types/blocking_assertions.py",
    "tests/types/typing_assertions.py",
]


def mypy(*files: str) -> str:
    """Returns what mypy has to say against the files; nothing if it accepts them."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout if done.returncode else ""


def pyright(*files: str) -> str:
    """Returns what pyright has to say against the files; nothing if it accepts them."""
    done = subprocess.run(
        [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"},
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    answer = json.loads(done.stdout)
    assert answer["summary"]["filesAnalyzed"] == len(files)
    return "\n".join(
        f"{found['file']}:{found['range']['start']['line'] + 1}: {found['message']}"
        for found in answer["generalDiagnostics"]
    )


Check = Callable[..., str]
CHECKERS = pytest.mark.parametrize("check", [mypy, pyright], ids=["mypy", "pyright"])


@CHECKERS
def test_type_checkers_accept_the_quick_start(check: Check) -> None:
    assert check(*PROGRAMS) == ""


@CHECKERS
@pytest.mark.parametrize("name", ["typing_assertions.py", "blocking_assertions.py"])
def test_every_line_that_must_be_an_error_is_one(check: Check, name: str, tmp_path: Path) -> None:
    # Without the ignores, to see that they hide something, and nothing else.
    lines = (ROOT / "tests/types" / name).read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if "  # type: ignore" in line}
    assert len(wrong) >= 6
    bare = tmp_path / "assertions.py"
    bare.write_text("\n".join(line.partition("  # type: ignore")[0] for line in lines))
    found = {
        int(number) for number in re.findall(r"assertions\.py:(\d+): (?!note)", check(str(bare)))
    }
    assert found == wrong
