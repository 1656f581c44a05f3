"""Mutants of checkpoints: fences, positions, leases, and what a handler wrote beside them."""

from __future__ import annotations

from tests.mutants.mutant import SQLITE_VIEWS, Mutant

SCHEMA = "adapters/sqlite/views_schema.py"
TRANSACTION = "adapters/sqlite/view_transaction.py"
SAME_FILE = "tests/adapters/test_sqlite_same_file.py::"
HOLDING = "tests/subscriptions/durable/test_holding_the_log.py::"

CHECKPOINTS = [
    Mutant(
        "the fence of a step",
        "a worker whose slice was taken over moves no checkpoint",
        SCHEMA,
        "AND fence = :fence AND worker IS NOT NULL\nAND position = :before",
        "AND worker IS NOT NULL\nAND position = :before",
        (
            SQLITE_VIEWS + "test_a_worker_whose_slice_was_taken_over_commits_nothing",
            SQLITE_VIEWS + "test_a_worker_of_a_removed_subscription_moves_nothing_of_its_successor",
        ),
    ),
    Mutant(
        "the position of a step",
        "a checkpoint moves only from where it stands",
        SCHEMA,
        "AND position = :before",
        "AND :before IS NOT NULL",
        (
            SQLITE_VIEWS + "test_a_checkpoint_moves_only_from_where_it_stands",
            SQLITE_VIEWS + "test_a_batch_that_was_committed_is_not_committed_again",
        ),
    ),
    Mutant(
        "the fence of a step to where it stands",
        "who writes without moving still has to hold the slice",
        SCHEMA,
        'AND fence = :fence AND worker IS NOT NULL\n"""\n\nSELECT_HELD',
        'AND worker IS NOT NULL\n"""\n\nSELECT_HELD',
        (SQLITE_VIEWS + "test_a_step_to_where_it_stands_checks_the_fence_alone",),
    ),
    Mutant(
        "a lease runs out",
        "the slices of a dead worker move on",
        SCHEMA,
        "AND (worker IS NULL OR lease <= {_NOW})",
        "AND worker IS NULL",
        (SQLITE_VIEWS + "test_a_lease_that_has_run_out_is_taken_over_with_a_greater_fence",),
    ),
    Mutant(
        "a lease holds until then",
        "a slice is held by one worker at a time",
        SCHEMA,
        "AND (worker IS NULL OR lease <= {_NOW})",
        "AND (worker IS NULL OR lease > 0)",
        (
            SQLITE_VIEWS + "test_a_slice_is_held_by_one_worker",
            SQLITE_VIEWS + "test_a_lease_runs_out_by_itself_and_not_before_its_time",
            "tests/scenarios/test_checkpoints.py::test_two_processes_that_claim_at_the_same_time_get_each_slice_once",
        ),
    ),
    Mutant(
        "a fence of its own",
        "no fence is given twice",
        SCHEMA,
        "SET fence = fence + 1 RETURNING fence",
        "SET fence = fence RETURNING fence + 1",
        (
            SQLITE_VIEWS + "test_a_lease_that_has_run_out_is_taken_over_with_a_greater_fence",
            SQLITE_VIEWS + "test_a_worker_of_a_removed_subscription_moves_nothing_of_its_successor",
        ),
    ),
    Mutant(
        "who has let go",
        "a slice that was let go of is moved by nobody until it is claimed",
        SCHEMA,
        "SET worker = NULL, lease = NULL, tried = 0",
        "SET lease = 0.0, tried = 0",
        (
            SQLITE_VIEWS + "test_who_has_let_go_of_a_slice_moves_it_no_more",
            SQLITE_VIEWS + "test_what_was_let_go_of_is_free_at_once_where_it_stood",
        ),
    ),
    Mutant(
        "the lock of read models",
        "nobody takes a slice over between the look at its fence and the commit",
        "adapters/sqlite/views_writer.py",
        '"BEGIN IMMEDIATE"',
        '"BEGIN"',
        (SQLITE_VIEWS + "test_what_is_written_with_the_fence_holds_until_the_commit",),
    ),
    Mutant(
        "the lock around read models",
        "where SQLite's checkpoints race, no transaction runs beside one",
        "adapters/sqlite/views_writer.py",
        "self._lock.take(self._timeout_s)",
        "pass",
        (
            "tests/adapters/test_sqlite_checkpoints.py::test_no_transaction_runs_beside_whoever_holds_the_side_file",
        ),
    ),
    Mutant(
        "a failure that was caught",
        "after a statement that failed nothing of a transaction is committed",
        TRANSACTION,
        "if self._failure is not None:",
        "if self._failure is self:",
        (
            SQLITE_VIEWS + "test_a_handler_that_catches_a_failure_commits_nothing_all_the_same",
            SQLITE_VIEWS + "test_a_lost_lease_is_not_forgotten_by_whoever_catches_it",
            SQLITE_VIEWS + "test_a_refused_statement_is_not_forgotten_by_whoever_catches_it",
        ),
    ),
    Mutant(
        "what a handler may not say",
        "a handler does not end the transaction in which its checkpoint moves",
        "adapters/sqlite/user_statements.py",
        "if keyword in _CONTROL:",
        "if keyword is _CONTROL:",
        (SQLITE_VIEWS + "test_a_handler_neither_begins_nor_ends_a_transaction[COMMIT]",),
    ),
    Mutant(
        "for how long the log is held",
        "in the log's own file, a handler keeps appends waiting for 50 ms at most",
        "adapters/sqlite/views_writer.py",
        "limited=for_handlers",
        "limited=False",
        (
            SAME_FILE
            + "test_a_transaction_is_rolled_back_when_its_time_is_over_and_the_file_is_free",
            HOLDING + "test_a_handler_that_holds_the_log_is_cut_off_and_appends_go_on[it waits]",
        ),
    ),
    Mutant(
        "how long a statement takes",
        "in the log's own file, a statement that takes too long is interrupted",
        "adapters/sqlite/views_writer.py",
        "connection.set_progress_handler(hold.is_over, _STEPS)",
        "pass",
        (SAME_FILE + "test_a_statement_that_takes_too_long_is_interrupted",),
    ),
    Mutant(
        "when a batch ends",
        "in the log's own file, a batch ends before its time is over",
        TRANSACTION,
        "return self._hold.full(self._kept_values, begun=self._begun)",
        "return False",
        (SAME_FILE + "test_a_batch_ends_before_its_time_is_over",),
    ),
    Mutant(
        "who writes to the log",
        "a handler in the log's own file changes nothing of the log",
        "adapters/sqlite/checkpoints.py",
        "forbid_writing_the_log(connection)",
        "pass",
        (
            SAME_FILE + "test_a_handler_does_not_write_to_the_log[DROP TABLE records]",
            SAME_FILE + "test_a_handler_does_not_write_to_the_log_by_a_trigger_of_its_own",
        ),
    ),
    Mutant(
        "the lock around tables in the log",
        "where SQLite's checkpoints race, our tables are not made beside one",
        "adapters/sqlite/views_file.py",
        "with nullcontext() if lock is None else lock.held(place.timeout_s):",
        "with nullcontext():",
        (SAME_FILE + "test_no_transaction_runs_beside_whoever_holds_the_side_file",),
    ),
    Mutant(
        "the rollback of a handler",
        "nothing of a handler that failed, or was called off, is left",
        TRANSACTION,
        "self._threads.run(self._writer.roll_back)",
        "self._threads.run(self._writer.commit)",
        (
            SQLITE_VIEWS + "test_a_handler_that_fails_leaves_neither_its_writes_nor_a_move",
            SQLITE_VIEWS
            + "test_who_is_called_off_anywhere_in_a_transaction_leaves_all_of_it_or_nothing",
        ),
    ),
]
