"""Mutants of what one name runs: whose handlers, and where a new one begins."""

from __future__ import annotations

from tests.mutants.mutant import SQLITE_VIEWS, Mutant

BEGINNING = "subscriptions/beginning.py"
BOOKKEEPING = "adapters/sqlite/bookkeeping.py"
STATEMENTS = "adapters/postgres/checkpoint_statements.py"
NAMES = "tests/subscriptions/durable/test_names.py::"
POSTGRES = "tests/contract/checkpoints/test_postgres.py::TestPostgres::"

HANDLERS_OF_A_NAME = [
    Mutant(
        "two projectors of one name",
        "a store refuses to run other handlers under a name that it runs",
        "store/subscribing.py",
        "if running.version == version and (unlike := difference(handled, running.handled)):",
        "if version == 0 and (unlike := difference(handled, running.handled)):",
        (NAMES + "test_two_different_projectors_under_one_name_in_one_store_are_refused[sqlite]",),
    ),
    Mutant(
        "who waits for other handlers",
        "nothing is claimed while a worker with other handlers holds something",
        BOOKKEEPING,
        "if connection.execute(schema.COUNT_OTHERS, values).fetchone() != (0,):",
        "if connection.execute(schema.COUNT_OTHERS, values).fetchone() == (-1,):",
        (
            SQLITE_VIEWS + "test_nothing_is_claimed_beside_a_worker_with_another_fingerprint",
            NAMES + "test_a_handler_begins_behind_what_an_older_worker_passed[sqlite-4]",
        ),
    ),
    Mutant(
        "the fence of other handlers",
        "who is taken over by other handlers moves none of its slices, claimed again or not",
        BOOKKEEPING,
        "    connection.execute(schema.FENCE_OTHERS, values)\n",
        "",
        (SQLITE_VIEWS + "test_who_is_taken_over_by_another_fingerprint_moves_none_of_its_slices",),
    ),
    Mutant(
        "who waits for other handlers in PostgreSQL",
        "nothing is claimed while a worker with other handlers holds something",
        STATEMENTS,
        'f"AND NOT EXISTS (SELECT {_OTHERS}) "',
        'f"AND NOT EXISTS (SELECT {_OTHERS} AND false) "',
        (POSTGRES + "test_nothing_is_claimed_beside_a_worker_with_another_fingerprint[newest]",),
    ),
    Mutant(
        "the fence of other handlers in PostgreSQL",
        "who is taken over by other handlers moves none of its slices, claimed again or not",
        STATEMENTS,
        'f"AND NOT EXISTS (SELECT {_OTHERS}) "',
        'f"AND NOT EXISTS (SELECT {_OTHERS} AND o.until > clock_timestamp()) "',
        (
            # With the statement before it taken away as well, all would stand still instead.
            NAMES + "test_who_is_committing_still_holds_its_slice[postgres]",
        ),
    ),
    Mutant(
        "two that claim side by side in PostgreSQL",
        "workers with different handlers never both get slices at the same time",
        "adapters/postgres/checkpoints.py",
        "Statement(schema.LOCK, values),\n                Statement(statements.UPSERT_WORKER",
        'Statement("SELECT 1", values),\n                Statement(statements.UPSERT_WORKER',
        (
            "tests/adapters/test_postgres_checkpoints.py::"
            "test_a_claim_waits_for_one_that_is_not_committed_yet",
        ),
    ),
    Mutant(
        "where a new handler begins",
        "a handler begins behind what was passed without it",
        BEGINNING,
        "position=max(floor, *passed)",
        "position=floor",
        (NAMES + "test_a_handler_begins_behind_what_an_older_worker_passed[sqlite-1]",),
    ),
    Mutant(
        "the fence of a beginning",
        "who has lost its slices before its handlers began has them begin nowhere",
        BEGINNING,
        "await transaction.move(self._name, standing)",
        "await transaction.move(self._name, standing[1:])",
        (NAMES + "test_who_was_taken_over_before_its_handlers_began_begins_none[sqlite]",),
    ),
    Mutant(
        "where a subscription was first started",
        "a crash before its handlers have begun does not move their beginning",
        BEGINNING,
        "else known.get(FIRST, self._head)",
        "else self._head",
        (
            NAMES + "test_after_a_crash_at_its_first_start_a_subscription_begins_where_it_was_"
            "started[sqlite]",
        ),
    ),
    Mutant(
        "shares among one's own",
        "who waits for others to end takes no share of their slices",
        "subscriptions/holding.py",
        "share = -(-self._slices // max(1, len(kin)))",
        "share = -(-self._slices // max(1, len(workers)))",
        (NAMES + "test_who_waits_takes_no_share_from_those_who_work[sqlite]",),
    ),
    Mutant(
        "handlers that begin with a swap",
        "a swap that fails begins no handler",
        "store/subscribing.py",
        "known = await checkpoints.handlers(name)",
        "known = await checkpoints.register_handlers(name, sorted(names), position=head)",
        (NAMES + "test_a_swap_that_fails_begins_no_handler_of_the_new_version[sqlite]",),
    ),
]
