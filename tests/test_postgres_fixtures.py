"""The report of pytest says what the servers of its fixtures said to SHOW fsync."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgres_fixtures import OLDER, OLDEST

ROOT = Path(__file__).parents[1]

TESTS = """
def test_one(durable_postgres): assert durable_postgres.durable
def test_two(postgres_server): assert postgres_server.version
def test_three(): pass
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_the_report_says_what_show_fsync_says(workers: list[str], tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    plugin = ["-p", "tests.postgres_fixtures", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *plugin, *workers, "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)} | {"EVERLOG_TEST_POSTGRES": ""},
        capture_output=True,
        text=True,
    )
    said = done.stdout.splitlines()
    assert "3 passed" in said[-1]
    [durable] = [line for line in said if line.startswith("durable_postgres")]
    [fast] = [line for line in said if line.startswith("postgres_server")]
    assert durable.endswith("SHOW fsync: on>")
    assert fast.endswith("SHOW fsync: off>")


def test_older_servers_are_those_that_everlog_works_with() -> None:
    installed = {path.parent.name for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")}
    majors = {
        path.parent.parent.name for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")
    }
    assert {major for major in majors if OLDEST <= int(major) < 18} <= set(OLDER)
    assert all(int(major) >= OLDEST for major in OLDER)
    assert installed <= {"bin"}
