"""From nothing: a second service hydrates over HTTP into a log of its own, and says what it got."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

from everlog import EventStore
from everlog.server import serve
from examples.git_history.events import EVENTS
from examples.git_history.read_model import ReadModel
from examples.git_history.state import RepositoryState, digest, fold_repository, rows_of


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay ended in."""

    records: int
    fold: str
    """The digest of the fold."""
    tables: str
    """The digest of the read model's rows."""
    effects: int
    """How often the handler of `once` ran."""
    seconds: float


def url_of(path: str) -> str:
    """Returns the URL of a store in a file, whatever its name."""
    return "sqlite:///" + quote(str(Path(path).absolute()))


async def replay(path: str) -> Replayed:
    """Folds the log in a file, and projects it into fresh tables in memory."""
    started = time.perf_counter()
    async with EventStore.open(url_of(path), events=EVENTS) as store:
        with ReadModel(":memory:") as model:
            records = await model.projector.replay(store.read())
            state = await store.reduce(fold_repository) or RepositoryState()
            return Replayed(
                records=records,
                fold=digest(rows_of(state)),
                tables=digest(model.rows()),
                effects=model.effects,
                seconds=time.perf_counter() - started,
            )


async def hydrate(hub: str, path: str) -> Replayed:
    """Brings a new log in a file into step with a hub, with tables in memory that it feeds."""
    started = time.perf_counter()
    async with EventStore.open(url_of(path), events=EVENTS) as store:
        with ReadModel(":memory:") as model:
            store.on_appended(model.hook)
            done = await store.sync(hub).once()  # every hash and the hub's chain computed again
            await store.drained()
            state = await store.reduce(fold_repository) or RepositoryState()
            return Replayed(
                records=done.new,
                fold=digest(rows_of(state)),
                tables=digest(model.rows()),
                effects=model.effects,
                seconds=time.perf_counter() - started,
            )


async def hydrate_elsewhere(store: EventStore) -> Replayed:
    """The same in a second process with a log of its own, by HTTP from this one's store."""
    program = str(Path(__file__).with_name("__main__.py"))
    with tempfile.TemporaryDirectory(prefix="everlog-git-") as folder:
        log = str(Path(folder) / "second.db")
        async with serve(store, port=0) as server:
            command = [sys.executable, program, "--db", log, "--replay", "--hub", server.url]
            done = await asyncio.to_thread(
                subprocess.run, command, stdin=subprocess.DEVNULL, capture_output=True, text=True
            )
    if done.returncode:
        raise RuntimeError(
            f"the second process failed (exit code {done.returncode}): {done.stderr}"
        )
    return Replayed(**json.loads(done.stdout))


def as_json(replayed: Replayed) -> str:
    """Returns it as one line."""
    return json.dumps(asdict(replayed))
