"""The commands over a ledger in PostgreSQL, which they do not make by a slip of the pen either."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from everlog.cli.command_line import main
from everlog.testing import PostgresServer
from tests.adapters.databases import NOTHING, picture

Capture = pytest.CaptureFixture[str]


def test_a_ledger_in_postgresql_is_looked_after_alike(
    postgres_server: PostgresServer, tmp_path: Path, capsys: Capture
) -> None:
    url, other = postgres_server.new_database(), postgres_server.new_database()

    def told(*arguments: str, code: int = 0) -> list[Any]:
        ended = main([*arguments, "--json"])
        out, error = capsys.readouterr()
        assert ended == code, error
        return [json.loads(line) for line in (error if code == 1 else out).splitlines()]

    for words in (["info", url], ["tail", url], ["doctor", url], ["subscriptions", "status", url]):
        [failed] = told(*words, code=1)
        assert "everlog migrate" in failed["message"]
    assert picture(url) == NOTHING

    told("migrate", url)
    [first] = told("append", url, "a", "thing", '{"n":1}', "--untyped", "--meta", '"me"')
    [second] = told("append", url, "b", "thing", "2", "--untyped", "--expect", "new")
    assert told("tail", url) == [first, second]
    assert told("show", url, "2") == [second]
    assert [each["stream"] for each in told("streams", url)] == ["a", "b"]
    [verified] = told("verify", url)
    assert (verified["ok"], verified["records"]) == (True, 2)
    codes = {each["code"] for each in told("doctor", url, code=3)}
    assert codes == {"fsync", "full-page-writes"}, "of a server that is fast and not durable"
    assert told("subscriptions", "status", url) == []
    assert told("effects", "list", url) == []
    [failed] = told("backup", url, str(tmp_path / "x.db"), code=1)
    assert "pg_dump" in failed["message"]

    file = str(tmp_path / "log.ndjson")
    assert told("export", url, file) == [{"records": 2, "position": 2}]
    assert told("import", other, file) == [{"stored": 2, "known": 0}]
    hashes = [each["hash"] for each in told("tail", other)]
    assert hashes == [first["hash"], second["hash"]]
    assert told("import", f"sqlite:///{tmp_path}/copy.db", file) == [{"stored": 2, "known": 0}]
