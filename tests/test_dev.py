"""dev.py answers at once where it needs no environment, and no variable bends the one it makes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import dev

DEV = Path(dev.__file__)


def call(*args: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, DEV, *args],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def test_help_names_every_command_and_what_it_does(tmp_path: Path) -> None:
    done = call("--help", cwd=tmp_path)
    assert done.returncode == 0
    for name, command in dev.COMMANDS.items():
        assert f"  {name:<6} {command.__doc__}" in done.stdout


@pytest.mark.parametrize("args", [(), ("tset",), ("check", "--fxi"), ("docs", "--open")])
def test_a_wrong_call_is_refused_with_a_hint(args: tuple[str, ...], tmp_path: Path) -> None:
    done = call(*args, cwd=tmp_path)
    assert done.returncode == 2
    assert "python3 dev.py" in done.stdout + done.stderr


def test_variables_that_bend_tools_are_dropped_and_the_way_to_packages_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bending = ["PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "GIT_DIR", "MYPYPATH"]
    bending += ["PYTHONDONTWRITEBYTECODE"]
    kept = ["PIP_INDEX_URL", "PIP_CERT", "HTTPS_PROXY", "HOME", "PYTHONHASHSEED"]
    for name in [*bending, *kept, "PIP_USER", "VIRTUAL_ENV"]:
        monkeypatch.setenv(name, "1")
    env = dev.Environment(tmp_path / "env", tmp_path / "lock.txt", tmp_path / "cache", 0)
    cleaned = dev.clean_environ(env)
    assert set(bending).isdisjoint(cleaned)
    assert set(kept) <= cleaned.keys()
    assert cleaned["PIP_USER"] == "0"
    assert cleaned["VIRTUAL_ENV"] == str(env.folder)
    assert cleaned["PATH"].split(os.pathsep)[0] == str(env.folder / "bin")


def test_an_environment_without_stamp_or_python_counts_as_half_made(tmp_path: Path) -> None:
    env = dev.Environment(tmp_path, tmp_path / "lock.txt", tmp_path / "cache", 0)
    assert dev.found_stamp(env) == {}
    env.stamp.write_text('{"root": "x"}', encoding="utf-8")
    assert dev.found_stamp(env) == {}
    env.python.parent.mkdir()
    env.python.touch()
    assert dev.found_stamp(env) == {"root": "x"}
    env.stamp.write_text('{"root": ', encoding="utf-8")
    assert dev.found_stamp(env) == {}
