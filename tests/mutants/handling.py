"""Mutants of handlers: who waits for whom, and what of a `def` handler reaches its transaction."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

FROM_THREAD = "subscriptions/from_thread.py"
LIMITS = "tests/subscriptions/durable/test_time_limit.py::"
CROSSING = "tests/subscriptions/test_from_thread.py::"

HANDLERS_IN_THREADS = [
    Mutant(
        "a thread of one's own",
        "handlers that wait for their turn hold no thread that others need",
        "subscriptions/calling_in_time.py",
        "return await call(function, *args, in_thread=thread.run, contained=contained)",
        "return await call(function, *args, contained=contained)",
        (
            "tests/blocking/test_subscriptions.py::"
            "test_more_subscriptions_than_threads_for_handlers_all_get_on[sqlite]",
        ),
    ),
    Mutant(
        "the order of a def handler",
        "what was executed before a fetch is carried out before it",
        FROM_THREAD,
        "await self.carry_out()\n        return await self._tx.fetch(statement, values)",
        "return await self._tx.fetch(statement, values)",
        (CROSSING + "test_statements_cross_together_and_in_order",),
    ),
    Mutant(
        "the values of a def handler",
        "values are those of the call, and not of a moment later",
        FROM_THREAD,
        "found = tuple(cast(Sequence[object], values))",
        "found = cast(Sequence[object], values)",
        (CROSSING + "test_values_are_those_of_the_call",),
    ),
    Mutant(
        "a transaction that was kept",
        "what is executed when its handler has ended is refused, and not kept for ever",
        FROM_THREAD,
        "self._waits = True",
        "self._waits = False",
        (CROSSING + "test_what_was_kept_when_the_handler_had_ended_is_told_so",),
    ),
    Mutant(
        "what was cut off is not done",
        "a handler that was cancelled for its time has failed, also if it then returns",
        "subscriptions/watch.py",
        "            if not self.end():\n                return\n",
        "            if self.end():\n                await forget(self._cancels)\n"
        "            return\n",
        (
            LIMITS + "test_one_that_keeps_its_cancellation_to_itself_has_failed_and_"
            "holds_up_nobody[memory-returns]",
        ),
    ),
    Mutant(
        "what was cut off may have happened",
        "an effect that is cut off is ambiguous, and not taken as not having happened",
        "subscriptions/carrying_out.py",
        "return await self._cut_off(effect, handler, record, error, tries)",
        "return await self._failed(effect, handler, record, error, tries)",
        (
            LIMITS + "test_an_effect_that_is_cut_off_is_ambiguous_and_not_failed"
            "[memory-it happened-async def]",
            LIMITS + "test_an_effect_that_is_cut_off_is_ambiguous_and_not_failed"
            "[memory-it happened-def]",
        ),
    ),
    Mutant(
        "a bound for what is left behind",
        "threads that hang become no more and more",
        "subscriptions/calling_in_time.py",
        "(count := self._count_left()) >= MOST_LEFT",
        "(count := self._count_left()) >= 1_000_000",
        (
            LIMITS + "test_a_process_in_which_too_much_hangs_begins_no_more_and_skips_nothing"
            "[memory-handlers]",
        ),
    ),
    Mutant(
        "whose time it is",
        "a handler does not fail for the time in which its neighbours have the file",
        "subscriptions/watch.py",
        "return self.transaction is not None and self.transaction.is_waiting",
        "return False",
        (
            LIMITS + "test_the_time_in_which_others_have_the_file_is_not_the_handlers"
            "[another process-async def]",
            LIMITS + "test_the_time_in_which_others_have_the_file_is_not_the_handlers"
            "[a neighbour-def]",
        ),
    ),
]
