"""Mutants of the PostgreSQL ledger: the lock, the look, guesses, settings, pages, lost answers."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

WRITERS = "tests/adapters/test_postgres_writers.py::"
IN_BETWEEN = (
    WRITERS + "test_nobody_else_gets_in_between_what_a_writer_reads_and_what_it_writes[by a look]"
)

SETTINGS = (
    "tests/adapters/test_postgres_settings.py::"
    "test_every_commit_is_durable_and_in_a_transaction_as_it_needs_one"
)

POSTGRES = [
    Mutant(
        "the advisory lock",
        "a commit takes the lock of its ledger before it looks",
        "adapters/postgres/schema.py",
        'LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"',
        'LOCK = "SELECT %(key)s::bigint"',
        (IN_BETWEEN,),
    ),
    Mutant(
        "the look behind the lock",
        "what a writer looks at, it sees as it is once it has the lock",
        "adapters/postgres/schema.py",
        'COPY = "COPY',
        # The lock is taken in the statement of the look, whose snapshot is older then.
        """_KEY_OF_LOCK = (
    "('x' || left(encode(sha256(convert_to('everlog:commits:' || btrim('{schema}', '\\"'), "
    "'UTF8')), 'hex'), 16))::bit(64)::bigint"
)
LOCK = "SELECT %(key)s::bigint"
SELECT_FOR_ONE = (
    f"WITH locked AS MATERIALIZED (SELECT pg_advisory_xact_lock({_KEY_OF_LOCK})) "
    f"{SELECT_FOR_ONE}, locked"
)
COPY = "COPY""",
        (IN_BETWEEN,),
    ),
    Mutant(
        "the lock of a guess",
        "an append by a guess takes the lock, too",
        "adapters/postgres/schema.py",
        '_LOCKED = " AND (SELECT pg_advisory_xact_lock(%(key)s)) IS NOT NULL"',
        '_LOCKED = " AND %(key)s::bigint IS NOT NULL"',
        (IN_BETWEEN.replace("look", "guess"),),
    ),
    Mutant(
        "the head of a guess",
        "an append by a guess is stored only where the head was assumed to be",
        "adapters/postgres/schema.py",
        "WHERE position = %(found)s AND chain = %(found_chain)s{guard}",
        "WHERE %(found)s::bigint > 0 AND %(found_chain)s::bytea IS NOT NULL{guard}",
        (WRITERS + "test_what_others_have_written_since_is_not_written_over",),
    ),
    Mutant(
        "the chain of a guess",
        "an append by a guess is stored only behind the record that was assumed to be the last",
        "adapters/postgres/schema.py",
        "AND chain = %(found_chain)s{guard}",
        "AND %(found_chain)s::bytea IS NOT NULL{guard}",
        (WRITERS + "test_a_log_that_has_lost_its_tail_is_not_gone_on_with_from_memory",),
    ),
    Mutant(
        "the version of a guess",
        "a version that is not known is checked by the statement that stores it",
        "adapters/postgres/schema.py",
        '" AND (%(is_known)s OR coalesce("',
        '" AND (%(is_known)s OR true OR coalesce("',
        (WRITERS + "test_a_stream_that_somebody_else_began_goes_on[one event]",),
    ),
    Mutant(
        "the versions of a guess",
        "versions that are not known are checked by the statement that stores many",
        "adapters/postgres/schema.py",
        '", 0) <> g.version::bigint)"',
        '", 0) < 0 * g.version::bigint)"',
        (WRITERS + "test_a_stream_that_somebody_else_began_goes_on[some events]",),
    ),
    Mutant(
        "the id of a guess",
        "an append by a guess stores no id that is stored",
        "adapters/postgres/schema.py",
        'AND NOT EXISTS (SELECT FROM {schema}.records WHERE id = %(id)s)"',
        'AND NOT EXISTS (SELECT FROM {schema}.records WHERE id = %(id)s AND false)"',
        (WRITERS + "test_a_retry_is_known_also_where_nobody_looks[one event]",),
    ),
    Mutant(
        "the ids of a guess",
        "some appends by a guess store no id that is stored",
        "adapters/postgres/schema.py",
        '"WHERE id = ANY(string_to_array(%(ids)s',
        '"WHERE false AND id = ANY(string_to_array(%(ids)s',
        (WRITERS + "test_a_retry_is_known_also_where_nobody_looks[some events]",),
    ),
    Mutant(
        "versions that others have moved",
        "what is remembered of streams is forgotten when somebody else has written",
        "adapters/postgres/guessing.py",
        "if not self._alone:",
        "if not self:",
        (WRITERS + "test_a_stream_that_grew_elsewhere_is_not_remembered_as_it_was",),
    ),
    Mutant(
        "synchronous_commit",
        "a commit is on the disk when it returns, whatever the server's default is",
        "adapters/postgres/schema.py",
        "ELSE 'on' END",
        "ELSE current_setting('synchronous_commit') END",
        (SETTINGS,),
    ),
    Mutant(
        "synchronous_commit on replicas",
        "a server's stronger promise stays",
        "adapters/postgres/schema.py",
        "THEN 'remote_apply'",
        "THEN 'on'",
        ("tests/adapters/test_postgres_settings.py::test_a_stronger_promise_of_the_server_stays",),
    ),
    Mutant(
        "READ COMMITTED",
        "each statement of a commit sees what was committed before it, whatever the default is",
        "adapters/postgres/schema.py",
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE",
        "BEGIN READ WRITE",
        (SETTINGS + "[transaction]",),
    ),
    Mutant(
        "READ COMMITTED by a guess",
        "an append that is one statement is no less in READ COMMITTED",
        "adapters/postgres/connections.py",
        "set_config('default_transaction_isolation', 'read committed', false)",
        "set_config('default_transaction_isolation', 'serializable', false)",
        (SETTINGS + "[none]",),
    ),
    Mutant(
        "patience for the lock",
        "the lock is waited for as long as was asked for, and no longer",
        "adapters/postgres/schema.py",
        "set_config('lock_timeout', %(timeout)s, {local})",
        "set_config('lock_timeout', left(%(timeout)s, 0) || '0', {local})",
        (SETTINGS,),
    ),
    Mutant(
        "patience with who is silent",
        "a transaction that is silent for too long is ended, and lets go of the lock",
        "adapters/postgres/schema.py",
        "set_config('idle_in_transaction_session_timeout', %(idle)s, {local})",
        "set_config('idle_in_transaction_session_timeout', left(%(idle)s, 0) || '0', {local})",
        (SETTINGS,),
    ),
]
