"""`store.event_from`: what comes from outside becomes an event, or is refused field by field."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from everlog import EventStore
from everlog.errors import EventValidationError, NotPortable, TooLarge, UnknownEvent
from tests.store.programs import EVENTS, Address, Auditor, Bare, Data, Model, Struct

GOOD: dict[str, tuple[Any, Any, Any, Any]] = {
    "test:model": (
        {"name": "x", "address": {"city": "y"}},
        {"auditor": "me"},
        Model(name="x", address=Address(city="y")),
        Auditor(auditor="me"),
    ),
    "test:bare": ("x", None, Bare("x"), None),
    "test:data": ({"name": "x"}, None, Data("x"), None),
    "test:struct": ({"name": "x", "count": 3}, None, Struct("x", 3), None),
}


@pytest.mark.parametrize("type", GOOD)
def test_an_event_of_each_kind_is_made_and_can_be_appended(type: str) -> None:
    data, meta, event, about = GOOD[type]

    async def main() -> None:
        async with EventStore.open("memory:", events=EVENTS) as store:
            made = store.event_from(type, data, meta)
            assert made == (event, about)
            [record] = await store.append("a", made[0], meta=made[1])
            assert (record.data, record.meta) == (event, about)

    asyncio.run(main())


BAD: dict[str, tuple[str, Any, Any, type[Exception], str]] = {
    "an unknown type": ("test:none", 1, None, UnknownEvent, "test:none"),
    "a field too many": ("test:data", {"name": "x", "nmae": 1}, None, EventValidationError, "nmae"),
    "one of a struct": ("test:struct", {"name": "x", "n": 1}, None, EventValidationError, "data.n"),
    "one of a model": (
        "test:model",
        {"name": "x", "n": 1},
        {"auditor": "me"},
        EventValidationError,
        "data.n",
    ),
    "one of meta": (
        "test:model",
        {"name": "x"},
        {"auditor": "me", "n": 1},
        EventValidationError,
        "meta.n",
    ),
    "a field too few": ("test:data", {}, None, EventValidationError, "name"),
    "of another kind": ("test:data", {"name": 5}, None, EventValidationError, "name"),
    "no meta": ("test:model", {"name": "x"}, None, EventValidationError, "meta"),
    "meta of none": ("test:bare", "x", {"auditor": "me"}, EventValidationError, "meta"),
    "a NUL": ("test:bare", "\0", None, NotPortable, "data"),
    "no JSON": ("test:bare", {1, 2}, None, NotPortable, "data"),
    "too large": ("test:bare", "x" * 1_048_577, None, TooLarge, "test:bare"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_refused_and_named(case: str) -> None:
    type, data, meta, error, says = BAD[case]

    async def main() -> None:
        async with EventStore.open("memory:", events=EVENTS) as store:
            with pytest.raises(error, match=says):
                store.event_from(type, data, meta)

    asyncio.run(main())
