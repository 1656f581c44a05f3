"""The file under a store: one ledger however it is named, and never another one unnoticed."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest
from pydantic import BaseModel

from everlog import EventStore, event
from everlog.adapters.sqlite import file_lock, writing
from everlog.adapters.sqlite.file_lock import FileLock
from everlog.adapters.sqlite.ledger import SqliteLedger
from everlog.errors import CannotOpen, CorruptLedger, FileReplaced


@event("file:noted")
class Noted(BaseModel):
    text: str = ""


async def guarded(path: Path) -> EventStore:
    return EventStore(await SqliteLedger.open(str(path), guard_checkpoints=True), events=[Noted])


def test_an_append_that_waited_for_the_lock_is_not_acknowledged_into_a_moved_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()
    real = file_lock._try_lock  # pyright: ignore[reportPrivateUsage]

    def spy(descriptor: int) -> bool:
        held = real(descriptor)
        if not held:
            waits.set()
        return held

    monkeypatch.setattr(file_lock, "_try_lock", spy)

    async def main() -> None:
        async with await guarded(tmp_path / "log.db") as store:
            lock = FileLock(str(tmp_path / "log.db-lock"))
            with lock.held(5):
                appending = asyncio.create_task(store.append("a", Noted()))
                assert await asyncio.to_thread(waits.wait, 30)
                os.rename(tmp_path / "log.db", tmp_path / "moved.db")
            lock.close()
            with pytest.raises(FileReplaced):
                await appending

    asyncio.run(main())


def test_a_read_never_mixes_two_ledgers_and_never_makes_a_new_file(tmp_path: Path) -> None:
    async def main() -> None:
        async with EventStore.open(tmp_path / "other.db", events=[Noted]) as other:
            await other.append("b", *[Noted()] * 50)
        async with EventStore.open(tmp_path / "log.db", events=[Noted]) as store:
            await store.append("a", *[Noted()] * 20)
            await store.info()
            os.replace(tmp_path / "other.db", tmp_path / "log.db")
            for read in [store.info() for _ in range(8)]:
                with pytest.raises(FileReplaced):
                    await read
            os.unlink(tmp_path / "log.db")
            with pytest.raises(FileReplaced):
                await store.read("a").to_list()
            assert not (tmp_path / "log.db").exists()

    asyncio.run(main())


def test_two_names_of_one_file_share_one_lock(tmp_path: Path) -> None:
    async def main() -> None:
        async with await guarded(tmp_path / "log.db") as store:
            (tmp_path / "link.db").symlink_to(tmp_path / "log.db")
            async with await guarded(tmp_path / "link.db") as other:
                await asyncio.gather(
                    *(each.append("a", Noted()) for each in (store, other) for _ in range(20))
                )
                assert (await store.verify()).ok
        assert not (tmp_path / "link.db-lock").exists()

    asyncio.run(main())


def test_many_stores_that_create_one_file_at_once_get_one_ledger(tmp_path: Path) -> None:
    async def main() -> None:
        for attempt in range(40):
            url = f"sqlite:///{tmp_path}/{attempt}.db"
            stores = await asyncio.gather(*(EventStore.open(url) for _ in range(8)))
            assert len({store.ledger.identity for store in stores}) == 1
            await asyncio.gather(*(store.close() for store in stores))

    asyncio.run(main())


def test_short_lived_writers_do_not_let_the_wal_grow_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "CHECKPOINT_BYTES", 256 * 1024)

    async def main() -> None:
        path = tmp_path / "log.db"
        async with await guarded(path) as keeper:  # so that nobody is the last to close
            await keeper.append("a", Noted())
            for _ in range(60):
                async with await guarded(path) as short:
                    await short.append("a", Noted(text="x" * 20_000))
            assert (tmp_path / "log.db-wal").stat().st_size < 1024 * 1024

    asyncio.run(main())


def test_two_backups_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    async def main() -> None:
        (tmp_path / "one.db.partial").write_text("somebody's")
        async with EventStore.open(tmp_path / "log.db", events=[Noted]) as store:
            await store.append("a", *[Noted()] * 500)
            await asyncio.gather(
                store.backup(str(tmp_path / "one.db")), store.backup(str(tmp_path / "two.db"))
            )
        assert (tmp_path / "one.db.partial").read_text() == "somebody's"
        for name in ("one.db", "two.db"):
            async with EventStore.open(tmp_path / name, events=[Noted]) as copy:
                assert (await copy.verify()).records == 500

    asyncio.run(main())


@pytest.mark.parametrize(
    "damage", ["UPDATE ledger SET clock = 'zz'", "DELETE FROM ledger"], ids=["clock", "row"]
)
def test_an_append_over_a_damaged_head_is_refused_as_damage(tmp_path: Path, damage: str) -> None:
    async def main() -> None:
        async with EventStore.open(tmp_path / "log.db", events=[Noted]) as store:
            await store.append("a", Noted())
            with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other:
                other.execute(damage)
            with pytest.raises(CorruptLedger):
                await store.append("a", Noted())
            assert not (await store.verify()).ok

    asyncio.run(main())


def test_a_backup_does_not_replace_a_file_that_came_while_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "backup.db"
    chmod = os.chmod

    def in_the_last_moment(path: str, mode: int) -> None:
        chmod(path, mode)
        target.write_text("somebody else's")

    async def main() -> None:
        async with await guarded(tmp_path / "log.db") as store:
            await store.append("a", Noted())
            with monkeypatch.context() as patched:
                patched.setattr(os, "chmod", in_the_last_moment)
                with pytest.raises(CannotOpen):
                    await store.backup(str(target))

    asyncio.run(main())
    assert target.read_text() == "somebody else's"
    assert [path.name for path in tmp_path.glob("*.partial")] == []


def test_a_backup_is_synced_before_it_gets_its_name_and_its_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "backup.db"
    done: list[str] = []
    fsync = os.fsync

    def spy(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append(f"{'folder' if folder else 'file'}, named: {target.exists()}")
        fsync(descriptor)

    async def main() -> None:
        async with await guarded(tmp_path / "log.db") as store:
            await store.append("a", Noted())
            with monkeypatch.context() as patched:
                patched.setattr(os, "fsync", spy)
                await store.backup(str(target))

    asyncio.run(main())
    assert done == ["file, named: False", "folder, named: True"]
