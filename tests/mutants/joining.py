"""Mutants of transactions: events that commit with the tables of a program."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

TRANSACTIONS = "tests/adapters/test_postgres_transactions.py::"
JOINING = "tests/adapters/test_postgres_joining.py::"
SCENARIOS = "tests/scenarios/postgres/test_transactions.py::"

JOINED = [
    Mutant(
        "the isolation of a transaction",
        "events join no transaction that sees the log as it was when it began",
        "adapters/postgres/joining.py",
        "if isolation not in ISOLATIONS:",
        "if isolation is None:",
        (JOINING + "test_a_transaction_that_events_cannot_join_is_refused_and_left_as_it_was",),
    ),
    Mutant(
        "the mark of a transaction",
        "a block that has ended its transaction is found out at its end",
        "adapters/postgres/joining.py",
        "if mark != self._mark:",
        "if self._mark is None:",
        (JOINING + "test_events_do_not_commit_with_another_transaction_than_their_blocks",),
    ),
    Mutant(
        "one block at a time",
        "a transaction that one block has is not given to another",
        "adapters/postgres/joining.py",
        "elif mark:",
        "elif mark is self:",
        (JOINING + "test_a_block_inside_of_another_one_of_the_driver_or_of_ours_is_refused",),
    ),
    Mutant(
        "the lock comes last",
        "the ledger's lock is taken when the block has ended, and not when it begins",
        "adapters/postgres/joining.py",
        "                await self._join()\n",
        """                await self._join()
                values = self._place.patience | {"key": self._place.lock_key}
                await connection.run(ask(schema.LOCK_AND_SET, values))
""",
        (JOINING + "test_the_ledgers_lock_is_taken_at_the_end_of_the_block_and_not_before",),
    ),
    Mutant(
        "the lock of a transaction",
        "events that join a transaction are written under the ledger's lock",
        "adapters/postgres/joining.py",
        "begun([lock], look(requests))",
        "look(requests)",
        (JOINING + "test_a_lock_that_is_held_for_too_long_rolls_everything_back",),
    ),
    Mutant(
        "what was put off",
        "constraints that were deferred are checked before the ledger's lock is waited for",
        "adapters/postgres/joining.py",
        "await connection.run(ask(schema.CHECK_CONSTRAINTS))",
        "pass",
        (
            JOINING
            + "test_a_constraint_that_was_put_off_and_is_not_met_is_told_as_the_driver_tells_it",
        ),
    ),
    Mutant(
        "a retry writes no table",
        "of a block that is run again the tables are not written twice",
        "adapters/postgres/joining.py",
        "await self.roll_back()  # what the block wrote was committed with the events",
        "await self._end(written, requests)",
        (TRANSACTIONS + "test_a_block_that_is_run_again_with_its_ids_changes_no_table_twice",),
    ),
    Mutant(
        "all that a block appends is one append",
        "of a block either all events are stored before, or none is",
        "store/transacting.py",
        "    if len(requests) < 2:\n        return requests[0] if requests else None\n",
        "    if requests:\n        return requests[0]\n    return None\n",
        (
            TRANSACTIONS
            + "test_a_block_of_which_some_events_are_stored_and_some_are_not_is_refused",
        ),
    ),
    Mutant(
        "a commit that was a rollback",
        "a COMMIT that has rolled back is not taken for a commit",
        "adapters/postgres/theirs.py",
        "if said != schema.COMMIT:",
        "if said is self:",
        (JOINING + "test_what_somebody_else_spoils_before_the_commit_is_not_taken_for_committed",),
    ),
    Mutant(
        "a lost commit is looked for",
        "of a commit whose connection was lost it is found out what became of it",
        "adapters/postgres/joining.py",
        "committed = await self._settle(written)",
        "committed = False",
        (
            SCENARIOS
            + "test_a_commit_that_is_still_under_way_when_its_connection_is_lost_is_waited_for"
            + "[async-arrives]",
        ),
    ),
    Mutant(
        "staying until the commit is over",
        "who is called off in a commit does not get the connection before it is over",
        "store/writing.py",
        "await to_its_end(committing, leave=lambda: not elsewhere.begun)",
        "await committing",
        (
            SCENARIOS
            + "test_a_block_that_is_called_off_at_any_await_leaves_both_or_neither_and_a_free_"
            + "connection[async-cancelled-False]",
        ),
    ),
    Mutant(
        "a turn among the store's commits",
        "hooks are told of transactions and appends in one order: that of the log",
        "store/committer.py",
        "        self._queue.append(_Queued(elsewhere, then, future))\n",
        """        queued = _Queued(elsewhere, then, future)
        elsewhere.begun = True
        writing = _begun(_as_one(elsewhere.commit(elsewhere.request)))
        writing.add_done_callback(partial(self._written, [queued]), context=self._nobodys)
        return future
""",
        (
            SCENARIOS
            + "test_hooks_are_told_of_a_transaction_behind_an_append_that_has_committed_before_it"
            + "[async]",
        ),
    ),
]
