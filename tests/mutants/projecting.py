"""Mutants of states in a durable subscription: when they are due, and whom a failure is about."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

HANDLERS = "subscriptions/handlers.py"
STATES = "tests/subscriptions/durable/test_states.py::"

STATES_OF_STREAMS = [
    Mutant(
        "states of late records",
        "a record that comes late changes the state as any other",
        HANDLERS,
        "if not prepared.wants_all and not listener.wants(",
        'if (listener.kind == "state" and record.outdated) or not listener.wants(',
        (STATES + "test_whatever_order_records_arrive_in_a_read_model_of_states_is_the_folds",),
    ),
    Mutant(
        "states that were put off",
        "a state that was put off to a record which did not come is handed over",
        HANDLERS,
        "for stream in sorted(self._put_off, key",
        "for stream in sorted(list(self._put_off)[:0], key",
        (STATES + "test_a_batch_that_is_cut_short_owes_no_state[sqlite]",),
    ),
    Mutant(
        "whom a failed state is about",
        "a state that fails is not tried with one record less, again and again",
        HANDLERS,
        "failed_at, self.failed_at = self.failed_at, self._first[stream]",
        "failed_at, self.failed_at = self.failed_at, record.position",
        (STATES + "test_a_state_that_fails_holds_up_its_stream_alone_and_is_folded_anew",),
    ),
]
