"""The disk that power cuts are tried on keeps its own rules."""

from __future__ import annotations

import random

from tests.faulty_disk.disk import CHOICES, SECTOR, Disk


def some_disk(rng: random.Random) -> tuple[Disk, dict[int, set[bytes]]]:
    """Returns a disk with unsynced writes, and all that each sector has been since the sync."""
    disk = Disk({"file": rng.randbytes(8 * SECTOR)})
    seen: dict[int, set[bytes]] = {}

    def look() -> None:
        data = disk.now()["file"].ljust(16 * SECTOR, b"\0")
        for sector in range(16):
            at = sector * SECTOR
            seen.setdefault(sector, set()).add(data[at : at + SECTOR])

    look()
    for _ in range(6):
        if rng.random() < 0.3:
            disk.truncate("file", rng.randrange(12 * SECTOR))
        else:
            disk.write("file", rng.randrange(9 * SECTOR), rng.randbytes(rng.randrange(1, 1500)))
        look()
    return disk, seen


def test_a_cut_leaves_of_each_sector_only_what_it_has_been(rng: random.Random) -> None:
    found: set[bytes] = set()
    for _ in range(60):
        disk, seen = some_disk(rng)
        for choice in CHOICES:
            data = disk.cut(choice, rng)["file"]
            found.add(data)
            for sector in range(len(data) // SECTOR):
                part = data[sector * SECTOR : (sector + 1) * SECTOR]
                assert part in seen[sector] or part == bytes(SECTOR), choice
    assert len(found) > 300, "the cuts differ"


def test_what_is_synced_is_there_whatever_else_is_cut(rng: random.Random) -> None:
    for choice in CHOICES:
        disk, _ = some_disk(rng)
        disk.create("other")
        disk.sync("file")
        now = disk.now()
        assert disk.cut(choice, rng)["file"] == now["file"]
        disk.sync_folder()
        disk.sync("other")
        assert disk.cut(choice, rng) == now


def test_the_extremes_are_nothing_and_everything_that_was_not_synced(rng: random.Random) -> None:
    for _ in range(20):
        disk, _ = some_disk(rng)
        disk.create("new")
        before = Disk(disk.cut("none", rng))
        assert "new" not in before
        assert disk.cut("all", rng) == disk.now()


def test_names_come_and_go_with_the_folder(rng: random.Random) -> None:
    disk = Disk({"old": b"old"})
    disk.delete("old")
    disk.create("new")
    names = {tuple(sorted(disk.cut("anything", rng))) for _ in range(100)}
    assert names == {(), ("new",), ("old",), ("new", "old")}
    disk.sync_folder()
    assert disk.cut("none", rng) == {"new": b""}


def test_what_a_failed_sync_forgot_no_later_sync_keeps(rng: random.Random) -> None:
    disk = Disk({"file": bytes(4 * SECTOR)})
    disk.write("file", 0, b"a" * 2 * SECTOR)
    disk.forget("file")
    disk.write("file", SECTOR, b"b" * SECTOR)
    disk.sync("file")
    assert disk.now()["file"][: 2 * SECTOR] == b"a" * SECTOR + b"b" * SECTOR
    for choice in CHOICES:
        found = disk.cut(choice, rng)["file"]
        assert found == bytes(SECTOR) + b"b" * SECTOR + bytes(2 * SECTOR)
