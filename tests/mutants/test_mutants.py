"""Every defence of ours is missed when it is taken away: by the tests that are named for it.

`python3 dev.py test tests/mutants -n 2 -rP` shows for each mutant which test killed it, and how.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from everlog.testing import PostgresServer
from tests.mutants.all_mutants import GROUPS, MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.running import SOURCE, Useless, copy_of, kills, run
from tests.mutants.synchronising import KILLER
from tests.mutants.warm import Warm
from tests.mutants.watcher import is_case_of
from tests.simulation.playing import SEEDS

pytestmark = pytest.mark.once

ATTEMPTS = 3
"""On a busy machine two processes may miss each other, and so not meet a fault that was planted."""


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    with Warm() as warm:
        yield warm


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_library_without_this_defence_is_noticed(
    mutant: Mutant, tmp_path: Path, warm: Warm, postgres_server: PostgresServer
) -> None:
    for attempt in range(1, ATTEMPTS + 1):
        folder = tmp_path / str(attempt)
        folder.mkdir()
        try:
            killed = kills(mutant, folder, warm, postgres_server.url)
        except Useless:
            if attempt == ATTEMPTS:
                raise
            continue
        for kill in killed:
            print(f"{mutant.name}: killed by {kill}, at attempt {attempt}")
        return


@pytest.mark.timeout(600)
@pytest.mark.parametrize("group", GROUPS)
def test_the_library_as_it_is_passes_every_test_that_kills_a_mutant(
    group: str, tmp_path: Path, warm: Warm, postgres_server: PostgresServer
) -> None:
    named = sorted(
        test
        for test in {test for mutant in GROUPS[group] for test in mutant.killed_by}
        if not is_played_anyway(test)
    )
    ran = run(copy_of(None, tmp_path), named, tmp_path, warm, postgres_server.url)
    assert [each for each in ran if not each.passed] == []
    assert [name for name in named if not any(is_case_of(each.test, name) for each in ran)] == []


def is_played_anyway(test: str) -> bool:
    """Whether a test plays nothing but seeds that `test_simulation.py` plays, too."""
    return test.startswith(KILLER) and int(test.rstrip("]").rpartition("..")[2]) < SEEDS


def test_every_mutant_has_a_name_and_a_text_of_its_own() -> None:
    assert len(MUTANTS) >= 16
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(m.file, m.source, m.replacement) for m in MUTANTS}) == len(MUTANTS)
    assert all(mutant.killed_by and mutant.takes_away for mutant in MUTANTS)
    # Each of them says so by itself, too, but only when its turn comes.
    texts = {m.file: (SOURCE / m.file).read_text(encoding="utf-8") for m in MUTANTS}
    assert [m.name for m in MUTANTS if texts[m.file].count(m.source) != 1] == []


# --- tests of the tests ---

[ONE] = [mutant for mutant in MUTANTS if mutant.name == "hydrated"]
QUICK = "tests/core/test_stamp.py::test_a_clock_is_a_value"


@pytest.mark.parametrize(
    ("useless", "because"),
    [
        (replace(ONE, replacement=ONE.source), "survives"),
        (replace(ONE, replacement="no_such_name()  # "), "not caught but broken"),
        (replace(ONE, replacement="this is no Python"), "pytest ended with"),
        (replace(ONE, source="this stands nowhere"), "stands 0 times"),
        (replace(ONE, source="\n"), "must exactly once"),
        (replace(ONE, killed_by=(QUICK, "tests/core/test_stamp.py::test_no_such")), "ended with 4"),
        (replace(ONE, killed_by=(*ONE.killed_by, QUICK)), "survives tests/core/test_stamp.py"),
    ],
    ids=["no change", "a wrong name", "no syntax", "no text", "many texts", "no test", "no killer"],
)
def test_a_mutant_that_shows_nothing_is_told(
    useless: Mutant, because: str, tmp_path: Path, warm: Warm
) -> None:
    with pytest.raises(Useless, match=because):
        kills(useless, tmp_path, warm)


def test_of_a_test_that_has_noticed_no_further_case_runs(tmp_path: Path, warm: Warm) -> None:
    name = "tests/core/test_vectors.py::test_commitments_are_hmacs_of_the_canonical_content"
    [mutant] = [mutant for mutant in MUTANTS if mutant.killed_by == (name,)]
    (as_it_is := tmp_path / "as it is").mkdir()
    cases = run(copy_of(None, as_it_is), [name, QUICK], as_it_is, warm)
    (without := tmp_path / "without").mkdir()
    ran = run(copy_of(mutant, without), [name, QUICK], without, warm)
    *passed, noticed, quick = ran
    assert (noticed.passed, quick.test) == (False, QUICK)
    assert all(each.passed for each in (*passed, quick))
    assert len(ran) < len(cases)


def test_only_what_the_simulation_plays_is_left_out_of_the_library_as_it_is() -> None:
    assert is_played_anyway(f"{KILLER}[0..{SEEDS - 1}]")
    assert not is_played_anyway(f"{KILLER}[0..{SEEDS}]")
    assert not is_played_anyway(QUICK)


def test_tests_that_would_import_another_everlog_than_the_copy_are_refused(
    tmp_path: Path, warm: Warm
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(Useless, match="not from the copy"):
        run(empty, [QUICK], tmp_path, warm)
