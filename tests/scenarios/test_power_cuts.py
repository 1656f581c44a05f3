"""Power cuts: whatever the disk still holds, what was acknowledged is there, and nothing half."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faulty_disk.exploring import Findings, Wrong, explore
from tests.faulty_disk.recording import Spare, Step, nothing
from tests.faulty_disk.workload import NAME, record

IN_CI, RELAXED_IN_CI = 500, 200
IN_SOAK = 10_000
STATES_OF_A_RECORDING = 250

ALWAYS_SEEN = {
    "something unsynced was dropped",
    "all of the unsynced was there",
    "a file was missing",
    "a deleted file was there again",
    "a journal was left",
    "a WAL was recovered",
    "a checkpoint was in flight",
    "the cut fell into the set-up",
    "the ledger was set up anew",
    "an unacknowledged commit survived",
    "the power was cut again while it was opened",
}


def test_a_power_cut_takes_nothing_that_was_acknowledged(
    tmp_path: Path, rng: random.Random
) -> None:
    findings = cut(tmp_path, rng, IN_CI)
    assert findings.lossy == 0
    assert findings.sometimes.keys() >= ALWAYS_SEEN, "some path was never taken"


def test_a_power_cut_takes_only_the_last_appends_where_durability_is_relaxed(
    tmp_path: Path, rng: random.Random
) -> None:
    findings = cut(tmp_path, rng, RELAXED_IN_CI, relaxed=True)
    # The test of the test as well: what is lost would be seen.
    assert findings.lossy > 0
    assert findings.lost_events > findings.lossy


@pytest.mark.soak
def test_power_cuts_by_the_thousand_take_nothing_that_was_acknowledged(
    tmp_path: Path, rng: random.Random
) -> None:
    findings = cut(tmp_path, rng, IN_SOAK)
    assert findings.lossy == 0
    assert findings.sometimes.keys() >= ALWAYS_SEEN, "some path was never taken"


@pytest.mark.soak
def test_power_cuts_by_the_thousand_take_only_the_last_appends_where_durability_is_relaxed(
    tmp_path: Path, rng: random.Random
) -> None:
    assert cut(tmp_path, rng, IN_SOAK // 5, relaxed=True).lossy > 0


@pytest.mark.parametrize("guarded", [True, False], ids=["our checkpoints", "sqlite's checkpoints"])
def test_a_commit_whose_wal_is_not_synced_is_seen_to_be_lost(
    tmp_path: Path, rng: random.Random, guarded: bool
) -> None:
    def spare(step: Step) -> bool:
        return step.deed == "sync" and step.name == NAME + "-wal"

    with pytest.raises(Wrong, match=r"acknowledged.*\n.*tests\.faulty_disk\.repeat"):
        cut(tmp_path, rng, STATES_OF_A_RECORDING, guarded=guarded, spare=spare)


def test_a_wal_whose_name_is_not_synced_is_seen_to_be_lost(
    tmp_path: Path, rng: random.Random
) -> None:
    def spare(step: Step) -> bool:
        return step.deed == "sync folder"

    with pytest.raises(Wrong):
        cut(tmp_path, rng, STATES_OF_A_RECORDING, spare=spare)


def test_a_checkpoint_that_is_not_synced_is_seen_to_damage_the_file(
    tmp_path: Path, rng: random.Random
) -> None:
    def spare(step: Step) -> bool:
        return step.deed == "sync" and step.name == NAME

    # Not even as little as is promised for `relaxed` holds then.
    with pytest.raises(Wrong):
        cut(tmp_path, rng, 2 * STATES_OF_A_RECORDING, relaxed=True, spare=spare)


def cut(
    tmp_path: Path,
    rng: random.Random,
    states: int,
    *,
    relaxed: bool = False,
    guarded: bool | None = None,
    spare: Spare = nothing,
) -> Findings:
    """Explores so many states, a part of them from each of several recordings."""
    all_findings = Findings()
    for number, first in enumerate(range(0, states, STATES_OF_A_RECORDING)):
        folder = tmp_path / str(number)
        folder.mkdir()
        recording = record(
            folder,
            rng,
            durability="relaxed" if relaxed else "full",
            # By turns, whatever this machine's SQLite needs.
            guarded=number % 2 == 0 if guarded is None else guarded,
            spare=spare,
        )
        seed = f"{rng.getrandbits(64):x}"
        count = min(STATES_OF_A_RECORDING, states - first)
        findings = explore(recording, count, seed, keep=tmp_path, may_lose=relaxed)
        all_findings.add(findings)
    print(all_findings)
    return all_findings
