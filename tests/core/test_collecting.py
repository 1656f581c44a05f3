"""`events_in`: the event classes of a module."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any, cast

import pytest

from everlog import events_in
from everlog.errors import InvalidInput
from tests.store import programs
from tests.store.programs import Auditor, Bare, Data, Model, NotGiven, Struct


def test_the_classes_of_a_module_are_found_in_their_order_each_once() -> None:
    module = ModuleType("mine")
    vars(module).update(one=Data, two=Bare, again=Data, other=Auditor, number=5, kind=int)
    assert events_in(module) == [Data, Bare]


def test_a_list_of_the_module_says_which() -> None:
    assert NotGiven in vars(programs).values()
    assert events_in(programs) == [Model, Bare, Data, Struct]
    module = ModuleType("mine")
    vars(module).update(one=Data, EVENTS=(Bare,))
    assert events_in(module) == [Bare]


@pytest.mark.parametrize("wrong", ["mine", Data, None, SimpleNamespace(EVENTS=[])])
def test_what_is_no_module_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidInput, match="is no module"):
        events_in(cast(ModuleType, wrong))


def test_upcasts_of_a_module_are_found_beside_its_classes() -> None:
    from tests.evolution import old_and_new

    found = events_in(old_and_new)
    assert {*old_and_new.TODAY, *old_and_new.UPCASTS} <= {*found}
    assert old_and_new.By not in found
