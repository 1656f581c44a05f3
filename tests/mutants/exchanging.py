"""Mutants of what goes to files and comes from them, and of what an operator does."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

_FILES = "tests/store/test_exchanging.py::"
_REWINDING = "tests/subscriptions/durable/test_rewinding.py::"

EXCHANGING = [
    Mutant(
        "known by its content",
        "an event that was born here when it was read from a file is known when it is read again",
        "core/sequencer.py",
        "computed_hash(again._replace(nonce=stored.nonce)) == stored.hash",
        "False",
        (
            f"{_FILES}test_a_past_that_is_imported_again_is_known",
            f"{_FILES}test_records_of_the_original_keep_id_time_and_order",
        ),
    ),
    Mutant(
        "known by its id alone",
        "another event of an id that is taken is a conflict, and not passed over",
        "core/sequencer.py",
        "computed_hash(again._replace(nonce=stored.nonce)) == stored.hash",
        "True",
        (f"{_FILES}test_another_event_of_the_same_id_is_a_conflict_and_not_passed_over",),
    ),
    Mutant(
        "orphans in a file",
        "what no fold has where it comes from is not taken in as if it counted",
        "interchange/ndjson.py",
        'if "orphan" in flags or "tombstone" in flags:',
        "if False:",
        (f"{_FILES}test_an_orphan_is_marked_and_not_taken_in",),
    ),
    Mutant(
        "half a file",
        "a file appears when it is whole",
        "store/exchanging.py",
        'partial = f"{path}.{os.urandom(4).hex()}.partial"',
        "partial = path",
        (f"{_FILES}test_a_file_appears_when_it_is_whole_for_its_owner_alone",),
    ),
    Mutant(
        "a key twice in a file",
        "what two readers would understand in two ways is refused",
        "interchange/json_values.py",
        "if len(members) != len(pairs):",
        "if False:",
        (
            "tests/interchange/test_json_values.py::test_what_is_wrong_is_named_with_its_line"
            "[7-a key twice]",
        ),
    ),
    Mutant(
        "rewound while it runs",
        "a subscription that somebody runs is not set back under its worker",
        "subscriptions/rewinding.py",
        "if len(held) < len(slices):",
        "if False:",
        (f"{_REWINDING}test_what_runs_is_not_rewound",),
    ),
    Mutant(
        "set aside for ever",
        "what was set aside behind the place of a rewind is met again",
        "subscriptions/rewinding.py",
        "if each.position > to:",
        "if False:",
        (
            f"{_REWINDING}test_what_was_set_aside_behind_the_place_is_met_again_and_what_is_"
            "before_it_stays",
        ),
    ),
    Mutant(
        "made by a slip of the pen",
        "with create=False, a ledger that is not there is not made",
        "adapters/sqlite/ledger.py",
        "if not create and not _holds_anything(real):",
        "if False:",
        (
            "tests/store/test_opening_what_is_there.py::test_a_file_that_is_not_there_is_not_made",
            "tests/cli/test_sessions.py::"
            "test_a_ledger_that_is_not_there_is_not_made_by_a_slip_of_the_pen",
        ),
    ),
    Mutant(
        "made by looking",
        "who looks at subscriptions makes no file for them",
        "store/subscribing.py",
        "if self._checkpoints is None and self._is_there is not None and not self._is_there():",
        "if False:",
        ("tests/cli/test_sessions.py::test_looking_leaves_no_file_behind",),
    ),
    Mutant(
        "data on a terminal",
        "what is in names and data cannot move the cursor of a terminal",
        "cli/showing.py",
        "return _HARMFUL.sub(",
        "return re.compile('(?!)').sub(",
        (
            "tests/cli/test_terminal.py::"
            "test_the_last_records_are_lines_that_cannot_move_the_cursor",
            "tests/cli/test_terminal.py::test_what_could_do_something_to_a_terminal_is_written_out",
        ),
    ),
]
