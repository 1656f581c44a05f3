"""What is run as on Windows: `python -m tests.windows.programs NAME FOLDER`.

Each runs twice: as it is, which imports what it needs of others, and then in the guise.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import io
import json
import os
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.windows import guise


def imports(_: Path) -> Any:
    """Imports every module but those whose business is to start and kill servers and processes."""
    import everlog

    names = [each.name for each in pkgutil.walk_packages(everlog.__path__, "everlog.")]
    mine = [name for name in names if not name.startswith(ELSEWHERE) and "__main__" not in name]
    for name in mine:
        importlib.import_module(name)
    return len(mine)


ELSEWHERE = ("everlog.testing.postgresql.", "everlog.testing.torture")
"""Where the test kit says that it is of Linux and macOS; they are imported when they are used."""


def stores(folder: Path) -> Any:
    """What a program does with a store in a file, and in memory."""

    async def main() -> list[object]:
        from everlog import EventStore, Projector, Record, Tx, WrongVersion
        from everlog.testing import postgres  # the face of the test kit, without a server

        assert callable(postgres)
        events, added = _events()
        said: list[object] = []
        for url in (f"sqlite:///{folder}/a.db", f"sqlite:///{folder}/a.db", "memory:"):
            async with EventStore.open(url, events=events) as store:
                before = (await store.info()).position
                coming = store.follow(after=before)
                await store.append("a", added(1), added(2))
                try:
                    await store.append("a", added(3), expect=1)
                except WrongVersion as error:
                    said.append(error.actual)
                async for record in coming:
                    said.append([record.version, record.data.number])
                    if record.data.number == 2:
                        break
                said.append([record.position async for record in store.read("a")])
                said.append((await store.verify()).ok)

                projector = Projector()

                @projector.on(added)
                async def keep(record: Record[Any], tx: Tx) -> None:
                    await tx.execute("CREATE TABLE IF NOT EXISTS kept (position)")
                    await tx.execute("INSERT INTO kept VALUES (?)", (record.position,))

                async with store.subscription("keeping", projector) as keeping:
                    await keeping.caught_up()
                async with EventStore.open("memory:", events=events) as other:
                    await store.sync(other).once()
                    said.append((await other.info()).position)
        return said

    return asyncio.run(main())


def threads(folder: Path) -> Any:
    """The same without `await`: the portal has a thread of its own."""
    from everlog.blocking import EventStore

    events, added = _events()
    with EventStore.open(folder / "b.db", events=events) as store:
        store.append("a", added(1))
        return [record.version for record in store.read("a")]


def command_line(folder: Path) -> Any:
    """What a person does with a ledger, its files and a hub's tokens."""
    from everlog.cli.command_line import main

    url = f"sqlite:///{folder}/c.db"
    said: list[object] = []
    for words in (
        ["append", url, "a", "b", "1", "--untyped", "--create"],
        ["info", url],
        ["tail", url, "--json"],
        ["verify", url],
        ["doctor", url],
        ["backup", url, str(folder / "c-backup.db")],
        ["export", url, str(folder / "c.ndjson")],
        ["import", f"sqlite:///{folder}/d.db", str(folder / "c.ndjson")],
        ["token", "create", str(folder / "tokens"), "shop", "--pull", "all"],
        ["token", "revoke", str(folder / "tokens"), "shop"],
    ):
        out = io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            code = main(words)
        assert code == 0 or words[0] == "doctor", out.getvalue()
        said.append([words[0], code, len(out.getvalue().splitlines())])
    return said


def follow(folder: Path) -> Any:
    """Follows what another process appends; says when it does."""

    async def main() -> list[int]:
        from everlog import EventStore

        events, _ = _events()
        found: list[int] = []
        async with EventStore.open(folder / "between.db", events=events) as store:
            if guise.is_on():
                print("following", flush=True)
            after = (await store.info()).position
            async for record in store.follow(after=after):
                found.append(record.data.number)
                if len(found) == 3:
                    break
        return found

    if not guise.is_on():
        _append_some(folder, 0)  # there is what it imports
        return None
    return asyncio.run(main())


def append(folder: Path) -> Any:
    """Appends what another process follows."""
    return _append_some(folder, 3) if guise.is_on() else _append_some(folder, 0)


def serve(folder: Path) -> Any:
    """Serves a hub until it is interrupted."""
    from everlog.cli.command_line import main

    if not guise.is_on():
        return imports(folder)
    return main(["serve", f"sqlite:///{folder}/hub.db", "--port", "0"])


def _append_some(folder: Path, count: int) -> int:
    async def main() -> int:
        from everlog import EventStore

        events, added = _events()
        async with EventStore.open(folder / "between.db", events=events) as store:
            if count:
                await store.append("a", *(added(number) for number in range(count)))
            return count

    return asyncio.run(main())


def _events() -> tuple[list[Any], Any]:
    from dataclasses import dataclass

    from everlog import event

    @event("added")
    @dataclass
    class Added:
        number: int

    return [Added], Added


PROGRAMS: dict[str, Callable[[Path], Any]] = {
    program.__name__: program
    for program in (imports, stores, threads, command_line, follow, append, serve)
}


def main(name: str, folder: Path) -> None:
    program = PROGRAMS[name]
    before = folder / f"{name}-as-it-is"
    before.mkdir()
    as_it_is = program(before)
    guise.put_on()
    print(json.dumps([as_it_is, program(folder)]))


if __name__ == "__main__":
    os.environ.pop("EVERLOG_URL", None)
    main(sys.argv[1], Path(sys.argv[2]))
