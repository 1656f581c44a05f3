"""`docs/how-to/curl.md` is a working client: its shell runs from top to bottom against real hubs.

Where a machine has no curl, a stand-in in Python takes its place; with it the page is run anyway.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from everlog import EventStore
from tests.docs import stand_in_curl
from tests.server.serving import serving

pytestmark = pytest.mark.once

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "curl.md"
RUNS = {"sh"}
TEXT = PAGE.read_text("utf-8")
MARK = "\x01"
CLIENTS = ["stand-in", *(["curl"] if shutil.which("curl") else [])]


def blocks() -> list[tuple[str, str]]:
    """Returns what the page runs, each with what it says."""
    found = re.findall(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```", TEXT, re.M | re.S)
    assert len(found) == TEXT.count("```sh") == TEXT.count("```text") > 5
    return found


def path_with(client: str, folder: Path) -> str:
    """Returns a PATH in which `curl` is the client."""
    if client == "stand-in":
        program = folder / "bin" / "curl"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{stand_in_curl.__file__}" "$@"\n')
        program.chmod(0o755)
        return os.pathsep.join([str(program.parent), os.environ["PATH"]])
    return os.environ["PATH"]


@pytest.mark.parametrize("client", CLIENTS)
def test_the_shell_of_the_page_says_what_stands_there(client: str, tmp_path: Path) -> None:
    found = blocks()
    script = "".join(f"{block}\nprintf '{MARK}'\n" for block, _ in found)
    place = tmp_path / "client"
    place.mkdir()
    with (
        serving(f"sqlite:///{tmp_path}/hub.db") as hub,
        serving(f"sqlite:///{tmp_path}/copy.db") as copy,
    ):
        for port, server in ((8787, hub), (8788, copy)):
            assert f"http://localhost:{port}\n" in script
            script = script.replace(f"localhost:{port}", f"127.0.0.1:{server.port}")
        running = subprocess.Popen(
            ["sh", "-eu", "-c", script],
            cwd=place,
            env={**os.environ, "PATH": path_with(client, tmp_path), "no_proxy": "*"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, errors = running.communicate(timeout=100)
        except subprocess.TimeoutExpired:
            os.killpg(running.pid, signal.SIGKILL)
            out, errors = running.communicate()
        assert (running.returncode, errors) == (0, ""), out
        for (block, said), answer in zip(found, out.split(MARK)[:-1], strict=True):
            assert answer == said, block
    # The copies are the log: what the page keeps by itself, and the other hub.
    kept = [json.loads(line)["record"] for line in (place / "log.ndjson").read_text().splitlines()]
    hashes = asyncio.run(hashes_in(tmp_path / "hub.db"))
    assert [record["hash"] for record in kept] == hashes
    assert asyncio.run(hashes_in(tmp_path / "copy.db")) == hashes
    assert len(hashes) == 8


async def hashes_in(path: Path) -> list[str]:
    async with EventStore.open(path) as store:
        return [record.hash async for record in store.read()]


def test_the_stand_in_refuses_what_it_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    assert stand_in_curl.main(["-k", "http://127.0.0.1:1"]) == 2
    assert "no -k" in capsys.readouterr().err
