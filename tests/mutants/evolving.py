"""Mutants of evolution: what was stored once, read by the code of today."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

UPCASTING = "core/upcasting.py"
EVENT = "core/event.py"
TESTS = "tests/evolution/test_upcasting.py::"

EVOLUTION = [
    Mutant(
        "snapshots of other upcasts",
        "a snapshot of a fold is found only by code that reads its records alike",
        "store/folding.py",
        "if evolution else shape",
        "if False else shape",
        (
            TESTS + "test_a_snapshot_of_older_code_is_not_used_by_newer_code_and_the_other_way"
            "[sqlite]",
        ),
    ),
    Mutant(
        "a newer schema",
        "data of a schema that the class does not have is not decoded as if it were its own",
        UPCASTING,
        "        if reached != self._schema:\n            raise Misfit(",
        "        if reached < self._schema:\n            raise Misfit(",
        (TESTS + "test_data_of_a_newer_schema_is_not_guessed_at[sqlite]",),
    ),
    Mutant(
        "an upcast that is missing",
        "data is not decoded half way to today's schema",
        UPCASTING,
        "        if reached != self._schema:\n            raise Misfit(",
        "        if reached > self._schema:\n            raise Misfit(",
        (TESTS + "test_data_of_an_older_schema_needs_an_upcast[sqlite]",),
    ),
    Mutant(
        "an upcast without return",
        "an upcast that returns nothing does not make fields their defaults",
        UPCASTING,
        "if data is None and had_data and not may_be_none:",
        "if False and had_data and not may_be_none:",
        (TESTS + "test_an_upcast_that_fails_is_named_with_what_it_did[returned None]",),
    ),
    Mutant(
        "names of before in a selection",
        "reading by class finds what is stored under its aliases",
        EVENT,
        "return (name,) if declared is None else declared.names",
        "return (name,)",
        (TESTS + "test_classes_and_todays_name_select_what_is_stored_under_older_names[sqlite]",),
    ),
    Mutant(
        "names of before for handlers",
        "a handler of a class is one of its aliases, too",
        "subscriptions/projector.py",
        "for cls in types for name in event_type_of(cls).names]",
        "for cls in types for name in event_type_of(cls).names[:1]]",
        (TESTS + "test_handlers_see_todays_data_in_process_and_durably[sqlite]",),
    ),
    Mutant(
        "the register of a renamed type",
        "a type with aliases says what it writes, so that old and new events outdate each other",
        EVENT,
        "if names and register is None:",
        "if names and register == '':",
        (TESTS + "test_names_are_checked_where_they_are_declared",),
    ),
]
