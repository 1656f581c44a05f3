"""`docs/how-to/postgresql.md` is true: its programs run, in its order, as those whom it names."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from everlog import EventStore
from everlog.testing import postgres
from everlog.testing.postgresql.binaries import binaries_of_the_wheel
from tests.adapters.databases import ask, picture

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "postgresql.md"
RUNS = {"python", "sh", "sql"}


def test_the_programs_of_the_page_run_one_after_another(tmp_path: Path) -> None:
    programs = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S)
    assert {language for language, _ in programs} == RUNS
    binaries = binaries_of_the_wheel()
    with postgres(binaries=binaries) as server:
        place = urlsplit(server.url).netloc.rpartition("@")[2]
        path = os.pathsep.join(
            [str(Path(sys.executable).parent), str(binaries), os.environ["PATH"]]
        )
        environment = {**os.environ, "PATH": path}
        environment.pop("EVERLOG_URL", None)
        said: list[str] = []
        remembered = ""
        for language, program in programs:
            program = program.replace("@db/", f"@{place}/")
            if language == "sh":
                remembered += "".join(re.findall(r"^export .*\n", program, re.M))
                command = ["bash", "-euo", "pipefail", "-c", remembered + program]
            elif language == "sql":
                # By psql, as the administrator of the server.
                script = tmp_path / "page.sql"
                script.write_text(program, encoding="utf-8")
                strict = ["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(script)]
                command = [str(binaries / "psql"), *strict, server.url]
            else:
                command = [sys.executable, "-c", program]
            done = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, (program, done.stderr)
            assert done.stderr == ""
            said += done.stdout.splitlines()
        answers = [line for line in said if re.match("would|applied|nothing|1 ", line)]
        assert answers == [
            "would apply 0001 ledger",
            "would apply 0002 subscriptions",
            "would apply 0003 sync",
            "applied 0001 ledger",
            "applied 0002 subscriptions",
            "applied 0003 sync",
            "1 Opened(owner='Jane')",
            "nothing is lacking",
        ]

        original = f"postgresql://postgres@{place}/app"
        restored = f"postgresql://ledger_owner@{place}/restored"
        assert picture(original) == picture(restored), "a restored dump is the same ledger"
        assert ask(restored, "SELECT count(*) FROM everlog.records") == [(1,)]
        with pytest.raises(psycopg.errors.IntegrityConstraintViolation):
            ask(restored, "DELETE FROM everlog.records")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            ask(f"postgresql://app@{place}/app", "DELETE FROM everlog.records")

        async def main() -> None:
            for url in (f"postgresql://app@{place}/restored", f"postgresql://report@{place}/app"):
                async with EventStore.open(url, migrate=False) as store:
                    assert (await store.verify()).ok

        asyncio.run(main())
