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

PAGES = "tests/adapters/test_postgres_pages.py::"
CUT = PAGES + "test_a_page_of_large_events_ends_in_time_and_nothing_is_skipped_at_its_cut"
FIRST = (
    "tests/adapters/test_postgres_first_page.py::"
    "test_the_first_page_in_one_trip_is_the_page_that_several_give"
)
ONE_TRIP = (
    "tests/adapters/test_postgres_first_page.py::test_a_read_or_a_fold_of_one_page_is_one_trip"
)
MOMENTS = (
    "tests/adapters/test_postgres_moments.py::test_a_read_of_a_relation_never_mixes_the_streams_of"
    "_one_moment_with_the_log_of_another"
)
POSTGRES_SUITE = "tests/contract/test_postgres.py::TestPostgres::"
NAMES = POSTGRES_SUITE + "test_names_are_compared_by_code_point_and_kept_as_they_are[newest]"

TOMBSTONES = "adapters/postgres/migrations/0003_sync.sql"
MIGRATION = "adapters/postgres/migrations/0001_ledger.sql"
HISTORY = "tests/adapters/test_postgres_history.py::"
IN_ANOTHER_ORDER = (
    "tests/adapters/test_postgres_orders.py::test_no_text_is_in_the_order_of_its_database"
)
REWRITTEN = POSTGRES_SUITE + "test_the_database_itself_refuses_to_rewrite_history[newest]"
FAILURES = "tests/adapters/test_postgres_failures.py::"
PASSING = FAILURES + "test_what_passes_is_tried_again_and_nobody_hears_of_it"
FAILING = FAILURES + "test_what_does_not_pass_is_tried_once_and_is_known_not_to_be_written"
LOST = "tests/scenarios/postgres/test_lost_answers.py::"
DISTURBED = LOST + (
    "test_a_write_that_is_disturbed_at_any_statement_is_there_once_and_its_caller_never_hears"
)
SILENT = "tests/scenarios/postgres/test_silent_server.py::"
LOOKED_UP = SILENT + (
    "test_what_became_of_a_write_is_looked_up_where_the_server_answers_somebody_else"
)
NEWS = "tests/scenarios/postgres/test_news_of_commits.py::"
IN_ITS_PLACE = LOST + (
    "test_a_write_that_was_lost_is_not_taken_for_what_another_wrote_in_its_place[one event]"
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
        "the history of a guess",
        "what was remembered of streams is forgotten where the log has become another one",
        "adapters/postgres/guessing.py",
        "if found.head == self._head:",
        "if self._head is not None and found.head.position == self._head.position:",
        (WRITERS + "test_a_log_that_has_got_as_far_in_another_history_is_looked_at_anew",),
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
        "            self._versions.clear()\n            self._others = 1",
        "            self._others = 1",
        (WRITERS + "test_a_stream_that_grew_elsewhere_is_not_remembered_as_it_was",),
    ),
    Mutant(
        "a lost rewind",
        "a request that stores no record tells by its transaction what became of it",
        "adapters/postgres/writing.py",
        "return isinstance(request, (Append, Import))",
        "return True",
        (
            "tests/scenarios/postgres/test_lost_pieces.py::test_a_request_that_is_disturbed_at_any_statement_takes_effect_once",
        ),
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
    Mutant(
        "a stream's own version",
        "a stream's version is not that of its neighbour in the index",
        "adapters/postgres/schema.py",
        "CASE WHEN r.stream = {stream} THEN r.version END",
        "r.version",
        (
            WRITERS + "test_a_stream_begins_at_one_whatever_its_neighbours_are_called"
            "[by a look-one event]",
            WRITERS + "test_a_stream_begins_at_one_whatever_its_neighbours_are_called"
            "[by a look-some events]",
        ),
    ),
    Mutant(
        "where a stream begins",
        "a page of a stream begins with its first record",
        "adapters/postgres/paging.py",
        "(stream, position) > (%(stream)s, %(after)s) ",
        "(stream, position) > ('', 0) AND %(after)s >= 0 ",
        (NAMES,),
    ),
    Mutant(
        "where a stream ends",
        "a page of a stream ends with its last record",
        "adapters/postgres/paging.py",
        "AND (stream, position) <= (%(stream)s, %(until)s)",
        "AND %(until)s > 0",
        (NAMES,),
    ),
    Mutant(
        "late in one run only",
        "a fold finds what came late in one of its two runs, not in both",
        "adapters/postgres/paging.py",
        'conditions = " AND NOT late" if on_time else ""',
        'conditions = ""',
        (POSTGRES_SUITE + "test_a_fold_goes_by_created_whatever_the_order_of_arrival[newest]",),
    ),
    Mutant(
        "where the late ones go on",
        "the next page of what came late begins behind the last one",
        "adapters/postgres/paging.py",
        " AND (created, id) > (%(created)s, %(id)s)",
        " AND created > %(created)s AND %(id)s <> '-'",
        (POSTGRES_SUITE + "test_pages_of_every_size_together_are_the_selection[newest-created]",),
    ),
    Mutant(
        "the mark of what came late",
        "what came late is marked when it is copied in",
        "adapters/postgres/writing.py",
        "yield (*row, row.position in late,",
        "yield (*row, row.position in (),",
        (POSTGRES_SUITE + "test_a_fold_goes_by_created_whatever_the_order_of_arrival[newest]",),
    ),
    Mutant(
        "bytes, not characters",
        "the size of a record is that of its bytes",
        "adapters/postgres/writing.py",
        "return len(text) if text.isascii() else len(text.encode())",
        "return len(text)",
        (PAGES + "test_the_size_of_a_record_is_that_of_its_bytes_whatever_way_it_came",),
    ),
    Mutant(
        "a page by its bytes",
        "a page of large events ends before it is too large",
        "adapters/postgres/schema.py",
        "WHERE coalesce(before, 0) < %(room)s",
        "WHERE coalesce(before, 0) < 1000 * %(room)s::bigint",
        (CUT,),
    ),
    Mutant(
        "a page in the order of folds by its bytes",
        "a page that is looked for step by step ends before it is too large",
        "adapters/postgres/paging.py",
        "    while len(found) < size and room > 0 and",
        "    room = 2**40\n    while len(found) < size and",
        (CUT,),
    ),
    Mutant(
        "a page that is full",
        "where a page was cut by its bytes it is gone on",
        "adapters/postgres/paging.py",
        "return len(records) <= size and (fits or not _is_full(records, room))",
        "return len(records) <= size",
        (CUT,),
    ),
    Mutant(
        "full of bytes, not of characters",
        "whether a page was cut is told by its bytes",
        "adapters/postgres/paging.py",
        "len(text) if text.isascii() else len(text.encode())",
        "len(text)",
        (CUT + "[two bytes]", CUT + "[four bytes]"),
    ),
    Mutant(
        "full, or clearly not",
        "a character has up to four bytes",
        "adapters/postgres/paging.py",
        "4 * characters >= room",
        "characters >= room",
        (CUT + "[two bytes]", CUT + "[four bytes]"),
    ),
    Mutant(
        "late ones behind a first page",
        "a fold of more than a page, in which some came late, is merged of two runs",
        "adapters/postgres/first_page.py",
        "        if late:\n            return None\n",
        "",
        (FIRST,),
    ),
    Mutant(
        "late ones in a first page",
        "a fold of one page has what came late in its place",
        "adapters/postgres/first_page.py",
        "    elif late:\n",
        "    elif late and sized:\n",
        (FIRST,),
    ),
    Mutant(
        "the bytes of a first page",
        "a first page that may be too large is asked for again, by its bytes",
        "adapters/postgres/schema.py",
        'page, fits = select_small_page(conditions, order), "b.largest * %(limit)s < %(room)s"',
        'page, fits = select_small_page(conditions, order), "true"',
        (FIRST,),
    ),
    Mutant(
        "behind the snapshot",
        "a fold reads what stands behind its snapshot, not before it",
        "adapters/postgres/schema.py",
        "greatest(%(after)s, coalesce(s.position, 0)), ",
        "%(after)s::bigint, ",
        (ONE_TRIP,),
    ),
    Mutant(
        "one moment of a read",
        "a read finds the head and the streams of a relation in one statement",
        "adapters/postgres/reading.py",
        "    largest, ledger, epoch, end, chain, members = row\n",
        """    largest, ledger, epoch, end, chain, members = row
    [(*_, members)] = yield from ask(schema.SELECT_BEGINNING, _beginning(selection))
""",
        (MOMENTS + "[read]",),
    ),
    Mutant(
        "one moment of a fold",
        "a fold finds the head and the streams of a relation in one statement",
        "adapters/postgres/reading.py",
        "    [row] = yield from ask(schema.SELECT_FOLD_BEGINNING, values)\n",
        """    [row] = yield from ask(schema.SELECT_FOLD_BEGINNING, values)
    [other] = yield from ask(schema.SELECT_FOLD_BEGINNING, values)
    row = (*row[:4], *other[4:])
""",
        (MOMENTS + "[fold]",),
    ),
    Mutant(
        "an older snapshot on PostgreSQL",
        "an older snapshot never replaces a newer one",
        "adapters/postgres/schema.py",
        "WHERE (excluded.revision, excluded.position) >= (s.revision, s.position)",
        "WHERE true",
        (POSTGRES_SUITE + "test_an_older_snapshot_is_passed_over[newest]",),
    ),
    Mutant(
        "a conflict of transactions",
        "a serialization failure is tried again with the same ids",
        "adapters/postgres/failures.py",
        '"40001",  # serialization_failure',
        "",
        (PASSING + "[40001-by a look]", PASSING + "[40001-by a guess]"),
    ),
    Mutant(
        "a deadlock",
        "who was chosen to end a deadlock tries again with the same ids",
        "adapters/postgres/failures.py",
        '"40P01",  # deadlock_detected',
        "",
        (PASSING + "[40P01-by a look]",),
    ),
    Mutant(
        "a lost connection",
        "a connection that is lost is made anew, and the write tried again with the same ids",
        "adapters/postgres/failures.py",
        "return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))",
        "return False",
        (DISTURBED + "[one event-it never arrives]",),
    ),
    Mutant(
        "what does not pass",
        "a failure that stays is not tried again and again",
        "adapters/postgres/failures.py",
        'return error.sqlstate in TRY_AGAIN or error.sqlstate.startswith("08")',
        'return error.sqlstate > "1"',
        (FAILING + "[23514-StorageFailed-by a look]",),
    ),
    Mutant(
        "a lost try",
        "a commit whose answer was lost is looked for before the write is tried again",
        "adapters/postgres/writer.py",
        "lost += self._sent",
        "self._sent = []",
        (DISTURBED + "[a relation-its answer is lost]",),
    ),
    Mutant(
        "a try that was rolled back",
        "a write that has failed for certain is not called unknown",
        "adapters/postgres/writer.py",
        "if await self._let_go():",
        "if await self._let_go() is not None:",
        (FAILING + "[23514-StorageFailed-by a look]",),
    ),
    Mutant(
        "a lost try and its chain",
        "what another wrote in the place of a lost try is not taken for it",
        "adapters/postgres/writer.py",
        "return bool(found) and found[0][0] == last.chain",
        "return bool(found)",
        (IN_ITS_PLACE,),
    ),
    Mutant(
        "a lost try without rows",
        "the server is asked what became of a transaction that no row tells of",
        "adapters/postgres/writer.py",
        'return bool(fate == "committed")',
        "return bool(fate)",
        (DISTURBED + "[a relation-it never arrives]",),
    ),
    Mutant(
        "news of what was found",
        "a commit that was lost and found wakes those who wait",
        "adapters/postgres/writer.py",
        "                self._waker.found_committed(bool(written.rows))\n",
        "",
        (
            NEWS + "test_a_commit_that_was_lost_and_found_wakes_those_who_wait_at_once[by a guess]",
            NEWS + "test_a_commit_that_was_lost_and_found_wakes_those_who_wait_at_once[by a look]",
        ),
    ),
    Mutant(
        "no guess behind somebody else",
        "behind a transaction that was looked up nothing is guessed",
        "adapters/postgres/writer.py",
        "        self._guesses.forget()\n        tries = ",
        "        tries = ",
        (NEWS + "test_behind_a_transaction_that_was_looked_up_nothing_is_guessed",),
    ),
    Mutant(
        "no room to notify",
        "a commit does not fail for its NOTIFY",
        "adapters/postgres/writer.py",
        "error.sqlstate == NO_ROOM_TO_NOTIFY and self._waker.mute()",
        "False",
        (NEWS + "test_a_commit_does_not_fail_where_the_server_has_no_room_to_notify",),
    ),
    Mutant(
        "a silent transaction",
        "who is silent under the lock loses it",
        "adapters/postgres/executing.py",
        "yield from super()._fetch_gen(flush=False)",
        "yield from super()._fetch_gen(flush=flush)",
        (
            "tests/adapters/test_postgres_stopped.py::test_who_is_stopped_with_the_lock_in_its"
            "_hands_loses_it_and_goes_on_where_it_was[none]",
            "tests/adapters/test_postgres_stopped.py::test_who_is_stopped_with_the_lock_in_its"
            "_hands_loses_it_and_goes_on_where_it_was[transaction]",
        ),
    ),
    Mutant(
        "the rest of a statement",
        "a pipeline does not wait for the answer to what has been sent in part",
        "adapters/postgres/executing.py",
        "            yield from generators.send(self.pgconn)\n",
        "            pass\n",
        (
            "tests/adapters/test_postgres_large_statements.py::test_a_large_statement_at_the_end"
            "_of_a_pipeline_does_not_wait_for_its_answer_half_sent",
        ),
    ),
    Mutant(
        "a connection that was begun",
        "who is called off while connecting leaves no connection",
        "adapters/postgres/executing.py",
        "                making.close()\n",
        "                pass\n",
        (
            "tests/adapters/test_postgres_connecting.py::test_a_server_that_does_not_answer_has_no"
            "_connection_of_whom_was_called_off",
        ),
    ),
    Mutant(
        "a limit to silence",
        "a connection whose other end says nothing is cut",
        "adapters/postgres/silence.py",
        "            self._cut()\n",
        "            self._set(limit_s)\n",
        (
            "tests/adapters/test_postgres_stopped.py::"
            "test_whoever_calls_a_server_that_is_stopped_is_told_in_time_and_goes_on_with_it",
            SILENT + "test_who_is_called_off_while_a_server_is_silent_is_free_soon",
        ),
    ),
    Mutant(
        "a limit to connecting",
        "an attempt to connect ends in time",
        "adapters/postgres/silence.py",
        "asyncio.timeout(self._within_s)",
        "asyncio.timeout(60)",
        (SILENT + "test_who_opens_a_store_on_a_silent_server_is_told_in_time",),
    ),
    Mutant(
        "signs of life",
        "what goes on is not cut, however long it takes",
        "adapters/postgres/silence.py",
        "if ready:  # otherwise",
        "if ready is None:  # otherwise",
        (SILENT + "test_a_page_that_comes_slowly_is_not_cut",),
    ),
    Mutant(
        "a look when time is up",
        "a write that took all its time and was lost is looked for once all the same",
        "adapters/postgres/writer.py",
        "(tries.over and (looked_late or not lost))",
        "tries.over",
        (
            LOOKED_UP + "[one event-True-it was stored]",
            LOOKED_UP + "[an import-False-it was stored]",
        ),
    ),
    Mutant(
        "unknown only behind the COMMIT",
        "an import that was cut off in its COPY is known not to be written",
        "adapters/postgres/writer.py",
        "        def ending() -> Sequence[Statement]:\n            self._sent = [written]\n",
        "        self._sent = [written]\n\n        def ending() -> Sequence[Statement]:\n",
        (
            SILENT + "test_only_what_may_have_been_committed_is_called_unknown[an import-^COPY-"
            "Unreachable]",
        ),
    ),
    Mutant(
        "NOTIFY",
        "a commit is told to those who listen",
        "adapters/postgres/schema.py",
        "NOTIFY = \"SELECT pg_notify(%(channel)s, '')\"",
        'NOTIFY = "SELECT %(channel)s::text"',
        (
            "tests/adapters/test_postgres_waking.py::"
            "test_what_a_closing_store_appended_last_is_told_before_it_is_gone",
        ),
    ),
    Mutant(
        "NOTIFY of a guess",
        "an append by a guess tells those who listen in its own statement",
        "adapters/postgres/schema.py",
        "THEN pg_notify(%(channel)s, '')::text END",
        "THEN %(channel)s::text END",
        (
            "tests/adapters/test_postgres_waking.py::"
            "test_a_commit_after_a_pause_is_told_in_its_own_transaction",
        ),
    ),
    *(
        Mutant(name, takes_away, MIGRATION, source, replacement, killed_by)
        for name, takes_away, source, replacement, killed_by in (
            (
                "streams by code point",
                "streams are in one order, whatever the order of the database",
                'stream text COLLATE "C" NOT NULL,\n    type text',
                "stream text NOT NULL,\n    type text",
                (IN_ANOTHER_ORDER,),
            ),
            (
                "no deletes in PostgreSQL",
                "the database refuses to delete a record",
                "BEFORE UPDATE OR DELETE ON",
                "BEFORE UPDATE ON",
                (REWRITTEN, HISTORY + "test_a_record_may_become_a_tombstone_and_stays_one"),
            ),
            (
                "no TRUNCATE in PostgreSQL",
                "the database refuses to empty the log",
                "ENABLE ALWAYS TRIGGER records_are_never_emptied",
                "DISABLE TRIGGER records_are_never_emptied",
                (REWRITTEN, HISTORY + "test_a_record_may_become_a_tombstone_and_stays_one"),
            ),
            (
                "no changes by a replica's session in PostgreSQL",
                "a session that plays a replica is refused as any other",
                "ENABLE ALWAYS TRIGGER records_are_never_changed",
                "ENABLE TRIGGER records_are_never_changed",
                (REWRITTEN,),
            ),
        )
    ),
    *(
        Mutant(name, takes_away, TOMBSTONES, source, replacement, killed_by)
        for name, takes_away, source, replacement, killed_by in (
            (
                "a whole tombstone in PostgreSQL",
                "nonce, data and meta go together or not at all",
                "NEW.nonce IS NULL AND NEW.data IS NULL AND NEW.meta IS NULL",
                "true",
                (HISTORY + "test_on_its_way_to_a_tombstone_a_record_keeps_every_other_column",),
            ),
            (
                "the cause of a tombstone in PostgreSQL",
                "a tombstone keeps what caused it, also where that is NULL",
                "            AND NEW.causation IS NOT DISTINCT FROM OLD.causation\n",
                "",
                (HISTORY + "test_on_its_way_to_a_tombstone_a_record_keeps_every_other_column",),
            ),
            (
                "the way back of a tombstone in PostgreSQL",
                "only what has no content can be given one, and all of it",
                "OR OLD.nonce IS NULL AND OLD.data IS NULL AND OLD.meta IS NULL",
                "OR true",
                (HISTORY + "test_only_a_tombstone_is_given_content_and_all_of_it_at_once",),
            ),
        )
    ),
    Mutant(
        "json, not jsonb",
        "content is kept as it was hashed, byte for byte",
        "adapters/postgres/migrations/0001_ledger.sql",
        "    data json,\n",
        "    data jsonb,\n",
        (
            "tests/adapters/test_postgres_content.py::"
            "test_content_and_names_are_kept_as_they_were_hashed[by a look-by COPY]",
        ),
    ),
]
