"""Builds what is given to others, and installs it where nothing else is. Offline."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def build(kind: str, source: Path, folder: Path) -> Path:
    """Builds a "wheel" or an "sdist" of a source tree, by the backend itself."""
    program = (
        "import sys, hatchling.build as backend\n"
        f"print(backend.build_{kind}(sys.argv[1]), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, folder],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": "1577836800"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / done.stderr.splitlines()[-1]


class Installed:
    """An environment that has a wheel, what that needs, and nothing else."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        self.folder = folder
        self._run([sys.executable, "-m", "venv", "--without-pip", folder])
        self.python = folder / "bin" / "python"
        place = "import sysconfig; print(sysconfig.get_path('purelib'))"
        self.packages = Path(self._run([self.python, "-c", place]).strip())
        pip: list[str | Path] = [sys.executable, "-m", "pip", "--python", self.python]
        self._run([*pip, "install", "--quiet", "--no-index", "--no-deps", wheel])
        # From the environment that runs the tests, file by file as their wheels had them.
        for needed in needed_by(wheel_requirements(self.packages)):
            copy(needed, self.packages)
        self._run([*pip, "check"])

    def run(
        self, *arguments: str | Path, cwd: Path, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Runs its Python, which finds nothing of this repository."""
        return subprocess.run(
            [self.python, *arguments],
            cwd=cwd,
            env={**self._environment(), **variables},
            capture_output=True,
            text=True,
            timeout=100,
        )

    def command(self, *arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Runs its command `everlog`."""
        return subprocess.run(
            [self.folder / "bin" / "everlog", *arguments],
            cwd=cwd,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=100,
        )

    def _run(self, command: list[str | Path]) -> str:
        done = subprocess.run(command, capture_output=True, text=True, env=self._environment())
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _environment(self) -> Mapping[str, str]:
        left_out = ("PYTHON", "EVERLOG", "VIRTUAL_ENV")
        return {name: value for name, value in os.environ.items() if not name.startswith(left_out)}


def wheel_requirements(packages: Path) -> list[Requirement]:
    """What an installed everlog needs, without extras."""
    [info] = packages.glob("everlog-*.dist-info")
    return requirements_of(Distribution.at(info))


def requirements_of(found: Distribution) -> list[Requirement]:
    """What a distribution needs here, without extras."""
    wanted = [Requirement(text) for text in found.requires or []]
    return [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]


def needed_by(wanted: list[Requirement]) -> Iterator[Distribution]:
    """The distributions that requirements come to, each once; all of them are installed here."""
    seen = set[str]()
    while wanted:
        each = wanted.pop()
        if each.name in seen:
            continue
        seen.add(each.name)
        found = distribution(each.name)
        assert each.specifier.contains(found.version, prereleases=True), each
        assert not each.extras, each
        wanted += requirements_of(found)
        yield found


def copy(found: Distribution, packages: Path) -> None:
    """Copies the files that a distribution has recorded."""
    for file in found.files or []:
        if ".." in file.parts or "__pycache__" in file.parts:
            continue  # scripts, and what Python makes by itself
        target = packages / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(str(file.locate()), target)
