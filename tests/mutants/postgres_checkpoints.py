"""Mutants of the checkpoints in PostgreSQL: fences, positions, leases, lost answers."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

STATEMENTS = "adapters/postgres/checkpoint_statements.py"
SUITE = "tests/contract/checkpoints/test_postgres.py::TestPostgres::"
OWN = "tests/adapters/test_postgres_checkpoints.py::"

POSTGRES_CHECKPOINTS = [
    Mutant(
        "the fence of a step in PostgreSQL",
        "a worker whose slice was taken over moves no checkpoint",
        STATEMENTS,
        'WHERE {_SLICE} AND fence = %(fence)s "\n    f"AND position = %(before)s',
        'WHERE {_SLICE} AND %(fence)s > -1 "\n    f"AND position = %(before)s',
        (
            SUITE + "test_a_worker_whose_slice_was_taken_over_commits_nothing[newest]",
            SUITE + "test_who_has_let_go_of_a_slice_moves_it_no_more[newest]",
        ),
    ),
    Mutant(
        "the position of a step in PostgreSQL",
        "a checkpoint moves only from where it stands",
        STATEMENTS,
        "AND position = %(before)s AND {_OURS} RETURNING moves",
        "AND %(before)s > -1 AND {_OURS} RETURNING moves",
        (
            SUITE + "test_a_checkpoint_moves_only_from_where_it_stands[newest-4]",
            SUITE + "test_a_batch_that_was_committed_is_not_committed_again[newest]",
        ),
    ),
    Mutant(
        "the fence of who stays in PostgreSQL",
        "who writes without moving still has to hold the slice",
        STATEMENTS,
        'WHERE {_SLICE} AND fence = %(fence)s AND {_OURS} RETURNING moves"',
        'WHERE {_SLICE} AND %(fence)s > -1 AND {_OURS} RETURNING moves"',
        (SUITE + "test_a_step_to_where_it_stands_checks_the_fence_alone[newest]",),
    ),
    Mutant(
        "the lock of a claim in PostgreSQL",
        "who claims takes no slice that is being moved",
        STATEMENTS,
        "LIMIT %(most)s FOR UPDATE OF l, c SKIP LOCKED",
        "LIMIT %(most)s FOR UPDATE OF l SKIP LOCKED",
        (OWN + "test_who_claims_or_renews_does_not_wait_for_a_transaction",),
    ),
    Mutant(
        "a lease that holds in PostgreSQL",
        "a slice is held by one worker at a time",
        STATEMENTS,
        "l.worker IS NULL OR l.until <= clock_timestamp()",
        "l.worker IS NULL OR l.until > '-infinity'",
        (
            SUITE + "test_a_slice_is_held_by_one_worker[newest]",
            SUITE + "test_a_lease_runs_out_by_itself_and_not_before_its_time[newest]",
        ),
    ),
    Mutant(
        "a fence of its own in PostgreSQL",
        "no fence is given twice, also not to a subscription that was made again",
        STATEMENTS,
        '_NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"',
        '_NOW_MS = "0::bigint"',
        (SUITE + "test_a_worker_of_a_removed_subscription_moves_nothing_of_its_successor[newest]",),
    ),
    Mutant(
        "whose transaction it is in PostgreSQL",
        "a step is made in the transaction of what was written, or not at all",
        "adapters/postgres/transacting.py",
        "ended = ended or mark != self.mark",
        "ended = ended or mark == 'nobody'",
        (OWN + "test_a_transaction_that_a_handler_ends_all_the_same_moves_no_checkpoint",),
    ),
    Mutant(
        "the step of who was lost in PostgreSQL",
        "what another has committed since is not taken for one's own",
        "adapters/postgres/checkpointing.py",
        "    if fence == move.fence:\n",
        "    if fence:\n",
        (OWN + "test_a_lost_commit_that_another_has_gone_on_from_is_not_taken_for_ones_own",),
    ),
    Mutant(
        "the count of steps in PostgreSQL",
        "a commit that never arrived is told as that",
        "adapters/postgres/checkpointing.py",
        "return bool(moves >= moved.moves)",
        "return bool(moves)",
        (
            OWN + "test_a_commit_that_never_arrived_has_not_committed_and_is_told",
            OWN + "test_a_fence_that_was_held_only_tells_of_a_lost_commit_too",
        ),
    ),
    Mutant(
        "the end of who was lost in PostgreSQL",
        "whoever asks what became of a commit waits for its end",
        STATEMENTS,
        'FROM {_CHECKPOINTS} WHERE {_SLICE} FOR UPDATE"',
        'FROM {_CHECKPOINTS} WHERE {_SLICE}"',
        (OWN + "test_a_commit_that_is_still_under_way_is_waited_for",),
    ),
    Mutant(
        "the mark of a try in PostgreSQL",
        "a try whose answer was lost is counted once",
        STATEMENTS,
        "WHEN mark = %(mark)s THEN tries ELSE",
        "WHEN mark = %(mark)s AND false THEN tries ELSE",
        (OWN + "test_bookkeeping_that_was_lost_is_done_again_and_counts_once[AnswerLost]",),
    ),
    Mutant(
        "the mark of a claim in PostgreSQL",
        "who claims again, as the answer was lost, gets what it has taken",
        STATEMENTS,
        " OR l.mark = %(mark)s) ",
        " OR l.mark = %(mark)s AND false) ",
        (OWN + "test_bookkeeping_that_was_lost_is_done_again_and_counts_once[AnswerLost]",),
    ),
    Mutant(
        "what was caught in PostgreSQL",
        "after a statement that failed nothing of a transaction is committed",
        "adapters/postgres/transacting.py",
        "failure = self._failed = self._told(",
        "failure = self._told(",
        (SUITE + "test_a_handler_that_catches_a_failure_commits_nothing_all_the_same",),
    ),
    Mutant(
        "the copy of values in PostgreSQL",
        "a handler's values are those of its call",
        "adapters/postgres/transacting.py",
        "return dict(values) or None",
        "return values or None",
        (SUITE + "test_values_are_those_of_the_call_whatever_becomes_of_them[newest]",),
    ),
]
