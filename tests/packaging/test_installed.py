"""What `pip install` gives runs the first programs, and says what is lacking for others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.docs.test_readme import code_of
from tests.examples.test_quickstart import FOLDER, SHOWN
from tests.packaging.building import ROOT, Installed

NEEDS_MSGSPEC = "events_as_structs.py"


def test_only_pydantic_is_there(installed: Installed, tmp_path: Path) -> None:
    program = (
        "import everlog, importlib.metadata as m\n"
        "print(sorted(d.name for d in m.distributions()), everlog.__file__)"
    )
    done = installed.run("-c", program, cwd=tmp_path)
    names, _, file = done.stdout.partition("] ")
    assert Path(file.strip()).is_relative_to(installed.packages)
    assert "'pydantic'" in names
    for other in ("msgspec", "psycopg", "httpx2", "starlette", "uvicorn", "pytest"):
        assert f"'{other}'" not in names


def test_the_first_programs_of_the_readme_run(installed: Installed, tmp_path: Path) -> None:
    first, blocking = code_of(ROOT / "README.md", "python")
    done = installed.run("-W", "error", "-c", first, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "750 cents"
    done = installed.run("-W", "error", "-c", blocking, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "1 1 money:deposited Deposited(cents=500)\n"


@pytest.mark.parametrize("name", sorted(set(SHOWN) - {NEEDS_MSGSPEC}))
def test_a_program_of_the_quick_start_runs(name: str, installed: Installed, tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "quickstart")
    done = installed.run("-W", "error", tmp_path / "quickstart" / name, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    place = 0
    for line in SHOWN[name]:
        found = done.stdout.find(line, place)
        assert found >= 0, (line, done.stdout[place:])
        place = found + len(line)


def test_the_command_is_there_and_shows_and_tells(installed: Installed, tmp_path: Path) -> None:
    done = installed.command("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("demo", "info", "serve", "completion"):
        assert f"\n    {command} " in done.stdout
    done = installed.command("demo", "--keep", "tour", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout.splitlines()[-1]) == {"step": "end", "folder": "tour", "ok": True}
    done = installed.command("info", "sqlite:///tour/bank.db", "--json", cwd=tmp_path)
    assert json.loads(done.stdout)["position"] == 9
    done = installed.run("-m", "everlog", "verify", "sqlite:///tour/damaged.db", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (3, "")


LACKING = [
    ("info postgresql://127.0.0.1/none", "postgres"),
    ("migrate postgresql://127.0.0.1/none", "postgres"),
    ("info http://127.0.0.1:1", "client"),
    ("serve sqlite:///hub.db", "server"),
    ("token create hub.tokens shop --pull all", "server"),
    ("token list hub.tokens", "server"),
]


@pytest.mark.parametrize(("command", "extra"), LACKING)
def test_a_command_says_which_extra_it_lacks(
    command: str, extra: str, installed: Installed, tmp_path: Path
) -> None:
    done = installed.command(*command.split(), cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith(f": pip install 'everlog[{extra}]'\n")
    assert done.stderr.startswith("everlog: ")
    assert done.stderr.count("\n") == 1
    assert not any(tmp_path.iterdir())


PROGRAMS = {
    "postgres": """
async with EventStore.open("postgresql://127.0.0.1/none"): ...
""",
    "client": """
async with EventStore.open("memory:") as store:
    store.sync("https://hub.example.com")
""",
    "server": """
from everlog.server import serve
""",
    "testing": """
from everlog.testing import postgres
with postgres(): ...
""",
}


@pytest.mark.parametrize("extra", PROGRAMS)
def test_a_program_is_told_which_extra_it_lacks(
    extra: str, installed: Installed, tmp_path: Path
) -> None:
    body = "".join(f"    {line}\n" for line in PROGRAMS[extra].strip().splitlines())
    program = f"import asyncio\nfrom everlog import EventStore\nasync def main():\n{body}"
    done = installed.run("-c", f"{program}asyncio.run(main())", cwd=tmp_path)
    assert done.returncode == 1
    assert f"pip install 'everlog[{extra}]'" in done.stderr.splitlines()[-1]
    kind = "ModuleNotFoundError" if extra == "server" else "NotSupported|CannotOpen"
    assert done.stderr.splitlines()[-1].split(": ")[0].rpartition(".")[2] in kind.split("|")
