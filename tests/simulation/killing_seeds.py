"""Seeds that kill mutants of synchronising: `tests/mutants/synchronising.py` names them.

Not `test_*.py`, as who runs all tests plays every one of these seeds in `test_simulation.py`.
"""

from __future__ import annotations

import pytest

from tests.mutants.synchronising import KILLING_SEEDS
from tests.simulation.playing import play_many


@pytest.mark.parametrize("seeds", KILLING_SEEDS)
def test_all_holds_with_these_seeds(seeds: str) -> None:
    first, last = map(int, seeds.split(".."))
    session = play_many(range(first, last + 1))
    assert not session.failed, str(session.failed[0])
