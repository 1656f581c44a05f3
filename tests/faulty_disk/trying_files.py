"""Setting up, opening, backing up and reading on a disk that fails."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from everlog import EventStore
from everlog.errors import CannotOpen, StorageError, StorageFailed, StorageFull
from tests.faulty_disk.disk import Image
from tests.faulty_disk.exploring import write_image
from tests.faulty_disk.faults import READERS, Plan, faulty
from tests.faulty_disk.trying import BASE, NO_END, Tally, fill, make
from tests.faulty_disk.workload import NAME, Noted, seen


async def image_of_a_killed_store(folder: Path) -> Image:
    """Returns the files of a ledger whose process was killed: what was appended is in the WAL."""
    make(folder)
    with faulty(folder) as faults:
        await fill(folder)
        async with EventStore.open(folder / NAME, events=[Noted]) as store:
            await store.append("killed", *[Noted(n, "x" * 300) for n in range(20)])
            image = faults.disk().now()
    assert len(image[NAME + "-wal"]) > 4096
    return image


async def try_every_opening(
    folder: Path, name: str, image: Image, records: int, plan: Plan, tally: Tally
) -> None:
    """Opens a ledger, which there may be none of as yet, on a disk whose n-th call fails."""
    make(folder)
    for n in range(1, NO_END):
        place = folder / str(n)
        write_image(image, place)
        with faulty(place) as faults:
            faults.plan(Plan(plan.kind, n, plan.lasting, plan.threads))
            error = await _opening(place)
            fired = faults.fired
            tally.note(plan.kind, fired, [error])
            if error is not None:
                assert fired, repr(error)
                assert type(error) is CannotOpen, repr(error)
                await _opening(place)
            killed = faults.disk().now()
            faults.end()
            if error is not None:
                write_image(killed, folder / "killed")
                tally.images += 1
                await _is_whole(folder / "killed", records)
                shutil.rmtree(folder / "killed")
            await _is_whole(place, records)
        shutil.rmtree(place)
        if not fired:
            tally.calls[name, plan.kind] = n - 1
            return
    raise AssertionError(f"opening makes more than {NO_END} calls")


async def try_every_backup_call(folder: Path, plan: Plan, tally: Tally) -> None:
    """Backs up on a disk whose n-th call fails."""
    make(folder)
    await fill(folder)
    copy = folder / "copy.db"
    for n in range(1, NO_END):
        with faulty(folder) as faults:
            async with EventStore.open(folder / NAME, events=[Noted]) as store:
                beside = files_in(folder)
                faults.plan(Plan(plan.kind, n, plan.lasting, READERS))
                error = await _try(store.backup(str(copy)))
                fired = faults.fired
                tally.note(plan.kind, fired, [error])
                [added] = await store.append(f"while-{n}", Noted(n, "appends go on"))
                faults.end()
                if error is not None:
                    assert fired, repr(error)
                    left = {path.name for path in files_in(folder) - beside}
                    assert not left, f"a failed backup leaves {left}, after {error!r}"
                    await store.backup(str(copy))
                assert await store.find(added.id) == added
                last = added.position
        async with EventStore.open(copy, events=[Noted]) as backup:
            assert (await backup.verify()).ok
            assert (await backup.info()).position == (last if error is not None else last - 1)
        copy.unlink()
        if not fired:
            tally.calls["backup", plan.kind] = n - 1
            return
    raise AssertionError(f"a backup makes more than {NO_END} calls")


Look = Callable[[EventStore], Awaitable[object]]

LOOKS: Mapping[str, Look] = {
    "read": lambda store: store.read().to_list(),
    "reduce": lambda store: store.reduce(seen, BASE),
    "find": lambda store: store.find("nobody"),
    "info": lambda store: store.info(),
    "streams of a relation": lambda store: store.relations.streams_of("team"),
}


async def try_every_read(folder: Path, name: str, plan: Plan, tally: Tally) -> None:
    """Reads on a disk whose n-th read fails, with nothing in memory as yet."""
    look = LOOKS[name]
    make(folder)
    await fill(folder)
    for n in range(1, NO_END):
        with faulty(folder) as faults:
            async with EventStore.open(folder / NAME, events=[Noted]) as store:
                faults.plan(Plan(plan.kind, n, plan.lasting, READERS))
                error = await _try(look(store))
                fired = faults.fired
                tally.note(plan.kind, fired, [error])
                await store.append("appends", Noted(n, "go on"))
                faults.end()
                await look(store)
                if error is not None:
                    assert fired, repr(error)
                    assert type(error) is StorageFailed, repr(error)
                    assert "disk I/O error" in str(error) or "unable to open" in str(error), error
        if not fired:
            tally.calls[name, plan.kind] = n - 1
            return
    raise AssertionError(f"{name} makes more than {NO_END} calls")


def files_in(folder: Path) -> set[Path]:
    """Returns what lies in a folder."""
    return set(folder.iterdir())


async def _opening(folder: Path) -> StorageError | None:
    try:
        async with EventStore.open(folder / NAME, events=[Noted]):
            return None
    except StorageError as error:
        return error


async def _is_whole(folder: Path, records: int) -> None:
    async with EventStore.open(folder / NAME, events=[Noted]) as store:
        assert (await store.info()).position == records
        await store.append("afterwards", Noted(1, "goes on"))
        verification = await store.verify()
        assert verification.ok, verification.problems


async def _try(doing: Awaitable[object]) -> StorageError | None:
    try:
        await doing
    except (CannotOpen, StorageFull, StorageFailed) as error:
        return error
    return None
