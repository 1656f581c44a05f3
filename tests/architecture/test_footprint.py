"""What a user carries: what an import loads, what is locked, what the files give away."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
# The home of a person or a build machine. Written in parts, so that this file does not match.
HOMES = "|".join(["home", "Users", "root", "work", "opt"])
MACHINE_PATH = re.compile(rf"(?<![\w.])/(?:{HOMES})/[\w.]")
INDEXES = "|".join(["pypi", "pythonhosted", r"registry\.npmjs"])
INDEX = re.compile(rf"(?:{INDEXES})\.(?:org|com)")


def test_import_everlog_loads_no_validator_and_no_driver() -> None:
    program = "import sys, json, everlog; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(done.stdout))
    assert "everlog" in loaded
    assert loaded.isdisjoint({"pydantic", "pydantic_core", "msgspec"})
    assert loaded.isdisjoint({"sqlite3", "_sqlite3", "psycopg", "psycopg_pool"})


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_a_lock_holds_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-(?!-hash=)|\.|/)", text, re.MULTILINE)  # options, local paths


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_every_locked_package_has_an_exact_version_and_a_hash(lock: Path) -> None:
    text = re.sub(r"\\\n", " ", lock.read_text(encoding="utf-8"))
    entries = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert entries
    assert [line for line in entries if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:", line)] == []


def test_the_locks_hold_every_dependency_of_pyproject_and_agree() -> None:
    # Without the marker that may follow a version: what one lock needs on every system, another may
    # need on some.
    bench, demo, dev = [
        set(re.findall(r"^([\w.-]+)==(\S+) ", path.read_text("utf-8"), re.M)) for path in LOCKS
    ]
    assert demo <= dev, "the demo runs on the versions that were tested"
    tested = {name for name, _ in dev}
    assert {pin for pin in bench if pin[0] in tested} <= dev, "and so do the benchmarks"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups, extras = project["dependency-groups"], project["project"]["optional-dependencies"]
    always = [*project["project"]["dependencies"], *groups["build"]]
    # The demo runs on the embedded default: no driver, no server.
    for pinned, group, with_extras in (
        (bench, "bench", extras),
        (demo, "demo", ["msgspec"]),
        (dev, "dev", extras),
    ):
        wanted = [
            *always,
            *(one for one in groups[group] if isinstance(one, str)),
            *(one for extra in with_extras for one in extras[extra]),
        ]
        names = {re.split(r"[^\w.-]", one)[0].replace("_", "-") for one in wanted}
        assert names <= {name for name, _ in pinned}, "run: python3 dev.py lock"


def test_no_file_names_a_path_of_a_machine_or_an_index() -> None:
    giveaways = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in own_files()
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if MACHINE_PATH.search(line) or INDEX.search(line)
    ]
    assert giveaways == []


@pytest.mark.parametrize("planted", ["x = '/ho" + "me/jane/everlog'", "cd /ro" + "ot/.cache"])
def test_a_planted_machine_path_is_seen(planted: str) -> None:
    assert MACHINE_PATH.search(planted)


@pytest.mark.parametrize("innocent", ["sqlite:///work.db", "docs/work/x", "a/opt/b", "$HOME/x"])
def test_other_paths_are_left_alone(innocent: str) -> None:
    assert not MACHINE_PATH.search(innocent)


def own_files() -> list[Path]:
    """What git tracks or would; in a copy without git, all but environments and caches."""
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(git, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        listed = ""
    paths = [ROOT / name for name in listed.split("\0") if name] or [
        path
        for path in ROOT.rglob("*")
        if not {".venv", ".git", "__pycache__"} & set(path.relative_to(ROOT).parts)
        and not any(part.endswith("_cache") for part in path.relative_to(ROOT).parts)
    ]
    return [path for path in paths if path.is_file()]


def text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""
