"""Seeds that kill mutants of synchronising: `tests/mutants/synchronising.py` names them.

Not `test_*.py`: who runs all tests plays nearly all of these seeds in `test_simulation.py`, and the
others in `tests/mutants/`.
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
