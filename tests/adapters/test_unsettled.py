"""What is remembered of writes whose outcome is unknown."""

from __future__ import annotations

import pytest

from everlog.adapters.sqlite import unsettled
from everlog.adapters.sqlite.unsettled import Unsettled
from everlog.core.relation import Relate

FIRST, SECOND, THIRD = (Relate(add=(("team", name),)) for name in ("one", "two", "three"))


def test_a_write_of_unknown_outcome_is_remembered_until_one_is_written_over_it() -> None:
    memory = Unsettled()
    memory.add([FIRST, SECOND])
    assert memory.has_one_of([THIRD, Relate(add=(("team", "one"),))])
    assert not memory.has_one_of([THIRD])
    memory.clear()
    assert not memory.has_one_of([FIRST])


def test_a_disk_that_is_broken_for_good_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unsettled, "AT_MOST", 2)
    memory = Unsettled()
    for request in (FIRST, SECOND, THIRD):
        memory.add([request])
    assert not memory.has_one_of([FIRST])
    assert memory.has_one_of([SECOND])
    assert memory.has_one_of([THIRD])
