"""The mutants, by the defence that each of them takes away. `docs/guarantees.md` names them all."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

MEMORY = "tests/contract/test_memory.py::TestMemory::"
SQLITE = "tests/contract/test_sqlite.py::TestSqlite::"

# --- what an append means: the sequencer --------------------------------------------------------

SEQUENCER = [
    Mutant(
        "retry by id",
        "events that are stored already are found by their ids",
        "core/sequencer.py",
        "if first is not None:",
        "if first is not None and not events:",
        (
            "tests/core/test_sequencer.py::test_a_retry_gets_the_original_records_whatever_it_expects",
            MEMORY + "test_a_retry_returns_the_original_records_whatever_expect_says",
        ),
    ),
    Mutant(
        "id conflict",
        "an id that comes again with other content is refused",
        "core/sequencer.py",
        "if getattr(event, what) != getattr(record, what):",
        "if getattr(event, what) is None:",
        (MEMORY + "test_the_same_id_with_other_content_is_a_conflict",),
    ),
    Mutant(
        "partial retry",
        "a call that mixes known and new ids is refused",
        "core/sequencer.py",
        "if len(found) < len(events):",
        "if len(found) > len(events):",
        (MEMORY + "test_a_call_that_mixes_known_and_new_ids_is_refused",),
    ),
    Mutant(
        "expectation",
        "an append with `expect` is held against the version of its stream",
        "core/sequencer.py",
        "if event.expect is not ANY:",
        "if event.expect is not ANY and not version:",
        (
            MEMORY + "test_one_of_many_writers_that_expect_the_same_version_wins",
            MEMORY + "test_an_expectation_that_a_stream_of_two_events_does_not_meet",
        ),
    ),
    Mutant(
        "versions",
        "versions of a stream are counted one by one",
        "core/sequencer.py",
        "self._versions[event.stream] = version\n",
        "pass\n",
        (MEMORY + "test_append_many_interleaves_streams_in_the_order_given",),
    ),
    Mutant(
        "clock in the lock",
        "a stamp is later than the last that the ledger gave, also to another writer",
        "core/sequencer.py",
        "clock = _clock(max(self.head.clock, request.observed), self._identity.node)",
        'clock = _clock(max("0" * 32, request.observed), self._identity.node)',
        (
            SQLITE + "test_two_stores_over_one_ledger_share_its_clock",
            SQLITE + "test_the_clock_goes_on_after_the_store_was_opened_again_on_an_earlier_day",
        ),
    ),
    Mutant(
        "what was read",
        "a stamp is later than all that its writer has read",
        "core/sequencer.py",
        "clock = _clock(max(self.head.clock, request.observed), self._identity.node)",
        "clock = _clock(self.head.clock, self._identity.node)",
        (MEMORY + "test_what_is_written_is_created_after_all_that_its_writer_has_read_elsewhere",),
    ),
    Mutant(
        "clock receives",
        "an imported stamp moves the ledger's clock",
        "core/sequencer.py",
        "clock = receive(",
        "_ = receive(",
        (MEMORY + "test_what_is_born_after_an_import_is_created_after_it",),
    ),
    Mutant(
        "register",
        "outdated is judged per register, and not per type",
        "core/sequencer.py",
        "register = (record.stream, record.register)",
        "register = (record.stream, record.type)",
        (MEMORY + "test_outdated_is_judged_by_register_and_not_by_type",),
    ),
    Mutant(
        "hydrated",
        "what comes from elsewhere is marked as hydrated",
        "core/sequencer.py",
        "flags = HYDRATED | (OUTDATED if outdated else 0)",
        "flags = OUTDATED if outdated else 0",
        (MEMORY + "test_an_imported_record_is_hydrated_and_recorded_now",),
    ),
    Mutant(
        "late",
        "a record that belongs before what is here is marked as late",
        "core/sequencer.py",
        "is_late = record.order < head.newest",
        "is_late = record.order < ('', '')",
        (
            MEMORY + "test_a_fold_goes_by_created_whatever_the_order_of_arrival",
            SQLITE + "test_a_late_event_that_belongs_into_a_snapshot_ends_it",
        ),
    ),
    Mutant(
        "hash of an import",
        "an imported record must have the hash that its content gives",
        "core/sequencer.py",
        "if computed_hash(record) != record.hash:",
        "if len(computed_hash(record)) != len(record.hash):",
        (
            MEMORY + "test_a_record_that_does_not_fit_its_hash_or_cannot_be_one_is_refused",
            "tests/core/test_sequencer.py::test_a_record_that_is_not_whole_is_refused",
        ),
    ),
    Mutant(
        "known record with another hash",
        "an imported record with a known id must be that record",
        "core/sequencer.py",
        "if present.hash != record.hash:",
        "if present.id != record.id:",
        (MEMORY + "test_the_same_id_with_other_content_stamp_or_origin_is_a_conflict",),
    ),
]

# --- stamps, hash and chain, portable JSON ------------------------------------------------------

RULES = [
    Mutant(
        "tie-break",
        "equal stamps are folded by id",
        "core/fold_order.py",
        "on_time[i].order < late[j].order",
        "on_time[i].created <= late[j].created",
        (SQLITE + "test_a_late_event_with_the_same_stamp_goes_by_its_id",),
    ),
    Mutant(
        "node in the stamp",
        "two clocks never give the same stamp: the node is its last part",
        "core/stamp.py",
        'return f"{self.ms << 16 | self.counter:016x}{self.node}"',
        """return f"{self.ms << 16 | self.counter:016x}{'0' * 16}\"""",
        (
            "tests/core/test_stamp.py::test_a_stamp_is_milliseconds_then_counter_then_node_in_hex",
            "tests/faults/test_faults_of_the_original.py::test_the_clock_has_no_node",
        ),
    ),
    Mutant(
        "clock never goes back",
        "a wall clock that was set back makes the ledger's clock count",
        "core/stamp.py",
        "if now_ms > clock.ms:",
        "if now_ms != clock.ms:",
        (MEMORY + "test_stamps_ascend_while_the_wall_clock_stands_still_or_goes_back",),
    ),
    Mutant(
        "counter overflow",
        "a counter that is used up borrows a millisecond",
        "core/stamp.py",
        "if clock.counter < _MAX_COUNTER:",
        "if clock.counter <= _MAX_COUNTER:",
        ("tests/core/test_stamp.py::test_a_counter_that_is_used_up_borrows_the_next_millisecond",),
    ),
    Mutant(
        "max_offset",
        "a stamp from too far ahead does not drag the clock along",
        "core/stamp.py",
        "if max_offset_ms is not None and ms > now_ms + max_offset_ms:",
        "if max_offset_ms is not None and ms > now_ms + max_offset_ms + 2**50:",
        (MEMORY + "test_a_stamp_more_than_the_offset_ahead_is_refused",),
    ),
    Mutant(
        "version in the chain",
        "the chain covers the version of each record",
        "core/chain.py",
        'version.to_bytes(8, "big")',
        'b"\\0" * 8',
        ("tests/core/test_vectors.py::test_everlog_computes_the_same_ledger",),
    ),
    Mutant(
        "flags in the chain",
        "the chain covers the flags of each record",
        "core/chain.py",
        'flags.to_bytes(1, "big")',
        'b"\\0"',
        ("tests/core/test_vectors.py::test_everlog_computes_the_same_ledger",),
    ),
    Mutant(
        "chain before",
        "the chain covers all that came before",
        "core/chain.py",
        "previous + hash + ",
        "GENESIS + hash + ",
        ("tests/core/test_vectors.py::test_everlog_computes_the_same_ledger",),
    ),
    Mutant(
        "stream in the hash",
        "the hash covers the whole envelope",
        "core/chain.py",
        "f',\"stream\":{_quote(stream)}'",
        "f',\"stream\":{_quote(origin)}'",
        ("tests/core/test_vectors.py::test_everlog_computes_the_same_ledger",),
    ),
    Mutant(
        "content in the hash",
        "the hash covers data and meta",
        "core/chain.py",
        'f\'{{"data":{data},"meta":{meta}}}\'',
        'f\'{{"data":{data},"meta":null}}\'',
        ("tests/core/test_vectors.py::test_commitments_are_hmacs_of_the_canonical_content",),
    ),
    Mutant(
        "NUL",
        "text that some database refuses is refused by all",
        "core/portable.py",
        'if "\\0" in text:',
        'if "\\0" == text * 2:',
        (MEMORY + "test_hostile_text_does_not_come_in_by_an_import",),
    ),
    Mutant(
        "surrogates",
        "half of a surrogate pair is refused",
        "core/portable.py",
        "if not text.isascii() and (found := _SURROGATE.search(text)):",
        'if not text.isascii() and (found := _SURROGATE.search("")):',
        ("tests/core/test_portable.py::test_text_that_is_not_portable_is_refused_with_its_path",),
    ),
    Mutant(
        "big integers",
        "an integer that a double cannot hold is refused",
        "core/portable.py",
        "if not -MAX_SAFE_INTEGER <= number <= MAX_SAFE_INTEGER:",
        "if not -(2**99) <= number <= 2**99:",
        ("tests/core/test_portable.py::test_what_is_not_portable_is_refused_with_its_path",),
    ),
    Mutant(
        "size of an event",
        "an event has at most 1 MiB",
        "core/event.py",
        "if size > MAX_EVENT_BYTES:",
        "if size > 2 * MAX_EVENT_BYTES:",
        (MEMORY + "test_an_event_over_1_mib_does_not_come_in_by_an_import",),
    ),
    Mutant(
        "reads back",
        "what was encoded is read again and compared before it is stored",
        "core/codec.py",
        "return bool(self._engine.loads(text) == value)",
        "return True",
        (
            "tests/core/test_events.py::test_what_no_json_can_hold_is_refused_and_never_becomes_null",
        ),
    ),
    Mutant(
        "snapshot digest",
        "a snapshot that was changed in the file is not used",
        "core/snapshot.py",
        "return digest == _digest(snapshot, state)",
        "return len(digest) == len(_digest(snapshot, state))",
        (
            "tests/store/test_snapshots_kept_whole.py::test_a_sealed_snapshot_is_whole_and_changed_anywhere_it_is_not",
        ),
    ),
    Mutant(
        "once for what is new",
        "an effect never runs for a record that comes from elsewhere",
        "subscriptions/projector.py",
        "return not hydrated and not outdated",
        "return not outdated",
        (
            "tests/subscriptions/test_projector.py::test_once_on_and_all_tell_new_from_hydrated_and_outdated_records",
        ),
    ),
]

# --- group commit and cancellation --------------------------------------------------------------

CANCELLATION = "tests/store/test_cancellation.py::"
ANYWHERE = CANCELLATION + (
    "test_an_append_called_off_anywhere_is_wholly_there_or_not_and_a_retry_by_id_settles_it"
)

COMMITTER = [
    Mutant(
        "commit out of reach",
        "a commit runs in a task of its own, where its caller's cancellation does not reach it",
        "store/committer.py",
        "future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()",
        """[outcome] = await self._ledger.commit([request])
        if isinstance(outcome, EverlogError):
            raise outcome
        if then is not None:
            then(outcome)
        return outcome
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()""",
        (
            f"{ANYWHERE}[after INSERT]",
            "tests/store/test_cancellation_storm.py::test_two_thousand_callers_called_off_at_random_and_retried_by_id_are_stored_once_each",
        ),
    ),
    Mutant(
        "taken back",
        "a caller who is called off while queued takes the request back",
        "store/committer.py",
        "if queued.future.cancelled():",
        "if queued.future.cancelled() and queued.future.done() is None:",
        (f"{ANYWHERE}[queued]",),
    ),
    Mutant(
        "hooks without their caller",
        "hooks run for what was stored, also when its caller has gone",
        "store/committer.py",
        "if queued.then is not None:",
        "if queued.then is not None and not queued.future.done():",
        (f"{ANYWHERE}[with COMMIT sent]",),
    ),
    Mutant(
        "one by one",
        "a batch that failed is tried again one by one",
        "store/committer.py",
        "except StorageError as error:",
        """except StorageError as error:
            for queued in batch:
                _fail(queued, error)
        except ZeroDivisionError as error:""",
        (
            "tests/store/test_committer.py::test_a_failed_batch_is_retried_one_by_one_and_fails_the_guilty_alone",
        ),
    ),
    Mutant(
        "a batch that may have landed",
        "a batch of unknown outcome is not tried again, and each caller is told",
        "store/committer.py",
        "except OutcomeUnknown as error:",
        "except ZeroDivisionError as error:",
        (
            "tests/store/test_committer.py::test_an_unknown_outcome_names_each_callers_own_ids_and_a_retry_settles_it",
        ),
    ),
    Mutant(
        "a list is one call",
        "a list of records is taken in all or nothing, and not by chunks",
        "store/writing.py",
        "if isinstance(records, (list, tuple)):",
        "if isinstance(records, tuple):",
        (MEMORY + "test_a_list_holds_10_000_records_and_no_more",),
    ),
    Mutant(
        "settling a save",
        "a save that was interrupted asks the ledger what it has stored",
        "store/saving.py",
        "await self._settle(dirty)",
        "pass",
        (
            "tests/store/test_committer.py::test_a_save_repeated_after_an_interruption_stores_each_event_once",
        ),
    ),
    Mutant(
        "late events in folds",
        "a fold goes by creation, and not by arrival",
        "store/folding.py",
        "replace(selection, order=Order.CREATED)",
        "replace(selection, order=Order.POSITION)",
        (MEMORY + "test_a_fold_goes_by_created_whatever_the_order_of_arrival",),
    ),
    Mutant(
        "verify looks at hashes",
        "verify computes the hash of every record again",
        "store/verifying.py",
        "if hashed != record.hash:",
        "if len(hashed) != len(record.hash):",
        (SQLITE + "test_a_change_of_a_record_is_found",),
    ),
    Mutant(
        "verify looks at the chain",
        "verify computes the chain again",
        "store/verifying.py",
        "if chain != record.chain:",
        "if len(chain) != len(record.chain):",
        (SQLITE + "test_a_change_of_a_record_is_found",),
    ),
]

# --- SQLite: the lock, the sync, pages, snapshots, the file -------------------------------------

FILES = [
    Mutant(
        "the lock",
        "a transaction that writes takes the lock when it begins",
        "adapters/sqlite/writing.py",
        'connection.execute("BEGIN IMMEDIATE")',
        'connection.execute("BEGIN")',
        (
            "tests/adapters/test_sqlite_writers.py::test_nobody_else_gets_in_between_what_a_writer_reads_and_what_it_writes",
        ),
    ),
    Mutant(
        "the lock around commits",
        "where checkpoints race, commits and checkpoints exclude each other",
        "adapters/sqlite/writing.py",
        "return nullcontext() if self._lock is None else self._lock.held(self._place.timeout_s)",
        "return nullcontext()",
        (
            "tests/adapters/test_sqlite_writers.py::test_no_commit_runs_beside_whoever_holds_the_side_file",
        ),
    ),
    Mutant(
        "the lock ends with its process",
        "a forked child does not keep the lock of a parent that was killed",
        "adapters/sqlite/file_lock.py",
        "os.register_at_fork(after_in_child=_close_in_child)",
        "_ = _close_in_child",
        (
            "tests/scenarios/test_kill_9.py::test_a_writer_killed_in_a_checkpoint_leaves_no_lock_behind",
        ),
    ),
    Mutant(
        "the sync",
        "a commit is on the disk when it returns",
        "adapters/sqlite/connections.py",
        '"PRAGMA synchronous = FULL" if place.durability == "full" else',
        '"PRAGMA synchronous = NORMAL" if place.durability == "full" else',
        (
            "tests/scenarios/test_durability.py::test_the_connection_that_writes_syncs_fully_unless_told_otherwise",
            "tests/scenarios/test_durability.py::test_every_commit_is_synced_at_least_once_and_a_relaxed_one_is_seen_not_to_be",
        ),
    ),
    Mutant(
        "a retry adds no relations",
        "a retry stores nothing, and no relation that was removed since",
        "adapters/sqlite/writing.py",
        "if placed.new and isinstance(request, Append) and request.relations:",
        "if isinstance(request, Append) and request.relations:",
        (SQLITE + "test_a_retry_does_not_bring_back_a_relation_that_was_removed_since",),
    ),
    Mutant(
        "unknown outcome",
        "a COMMIT that failed without an answer is not called a failure",
        "adapters/sqlite/writing.py",
        "raise OutcomeUnknown([row.id for row in rows]) from error",
        "raise failure from error",
        (f"{ANYWHERE}[with COMMIT sent]",),
    ),
    Mutant(
        "the same file",
        "a file that was replaced under an open store is noticed",
        "adapters/sqlite/file_guard.py",
        "if file != self._file:",
        "if file is self:",
        (
            "tests/adapters/test_sqlite_files.py::test_a_read_never_mixes_two_ledgers_and_never_makes_a_new_file",
            "tests/scenarios/test_misuse.py::test_a_file_that_is_gone_under_the_open_store_is_noticed_before_a_write",
        ),
    ),
    Mutant(
        "the same file after waiting",
        "whether the file is the same is asked last, behind the wait for the lock",
        "adapters/sqlite/writing.py",
        "self._guard.check()",
        "pass",
        (
            "tests/adapters/test_sqlite_files.py::test_an_append_that_waited_for_the_lock_is_not_acknowledged_into_a_moved_file",
        ),
    ),
    Mutant(
        "application_id",
        "a database of another program is not touched",
        "adapters/sqlite/connections.py",
        "if application != schema.APPLICATION_ID:",
        "if application == -1:",
        (
            "tests/scenarios/test_misuse.py::test_a_file_of_another_program_is_refused_and_not_touched",
        ),
    ),
    Mutant(
        "user_version",
        "a file of a newer everlog is not touched",
        "adapters/sqlite/connections.py",
        "if version > schema.SCHEMA_VERSION:",
        "if version > 99_999_999_999:",
        (
            "tests/scenarios/test_misuse.py::test_a_file_of_a_newer_everlog_is_refused_and_not_touched",
        ),
    ),
    Mutant(
        "fork",
        "a forked child does not use its parent's connection",
        "ports/owner.py",
        "        if os.getpid() != self._pid:",
        "        if self._pid < 0:",
        (SQLITE + "test_a_forked_child_is_refused_and_its_parent_goes_on",),
    ),
    Mutant(
        "another event loop",
        "another event loop does not use the store",
        "ports/owner.py",
        "if running is not self._loop:",
        "if running is self:",
        (SQLITE + "test_another_event_loop_is_refused",),
    ),
    Mutant(
        "the clock is saved",
        "the clock is saved with every append",
        "adapters/sqlite/schema.py",
        "position = ?, chain = ?, clock = ?,",
        "position = ?, chain = ?, clock = min(clock, ?),",
        (SQLITE + "test_the_clock_is_saved_with_every_append",),
    ),
    Mutant(
        "positions are never used twice",
        "the database refuses a position at or below its head",
        "adapters/sqlite/schema.py",
        "WHEN NEW.position <= (SELECT position FROM ledger)",
        "WHEN NEW.position < 0",
        (SQLITE + "test_the_database_itself_refuses_to_rewrite_history",),
    ),
    Mutant(
        "ids are never used twice",
        "the database refuses an id that is stored",
        "adapters/sqlite/schema.py",
        "OR EXISTS (SELECT 1 FROM records WHERE id = NEW.id)",
        "OR NEW.id IS NULL",
        (SQLITE + "test_the_database_itself_refuses_to_rewrite_history",),
    ),
    Mutant(
        "records are never deleted",
        "the database refuses to delete a record",
        "adapters/sqlite/schema.py",
        "SELECT RAISE(ABORT, 'everlog: records are never deleted');",
        "SELECT 1;",
        (SQLITE + "test_the_database_itself_refuses_to_rewrite_history",),
    ),
    Mutant(
        "records are never changed",
        "the database refuses to change a record",
        "adapters/sqlite/schema.py",
        "SELECT RAISE(ABORT, 'everlog: records are never changed');",
        "SELECT 1;",
        (SQLITE + "test_the_database_itself_refuses_to_rewrite_history",),
    ),
    Mutant(
        "the page order",
        "a page is in order of position",
        "adapters/sqlite/reading.py",
        'ending: str = " ORDER BY position"',
        'ending: str = " ORDER BY created"',
        (SQLITE + "test_recorded_ascends_with_position_also_for_imports",),
    ),
    Mutant(
        "the cursor",
        "the next page begins right behind the last record of the one before",
        "adapters/sqlite/reading.py",
        "after = selection.after if cursor is None else cursor.position",
        "after = selection.after if cursor is None else cursor.position + 1",
        (SQLITE + "test_pages_of_every_size_together_are_the_selection",),
    ),
    Mutant(
        "the end of a reading",
        "the first page fixes where the reading ends",
        "adapters/sqlite/reading.py",
        "until = position if selection.until is None else",
        "until = 2**62 if selection.until is None else",
        (SQLITE + "test_a_first_page_fixes_the_end_and_the_streams_of_the_relation",),
    ),
    Mutant(
        "the snapshot is overtaken",
        "a snapshot does not hold when a late record belongs into it",
        "adapters/sqlite/reading.py",
        "and not _overtaken(connection, snapshot, resolved)",
        "and not connection.in_transaction is None",
        (SQLITE + "test_a_late_event_that_belongs_into_a_snapshot_ends_it",),
    ),
    Mutant(
        "the snapshot's membership",
        "a snapshot does not hold when its relation's streams have changed",
        "adapters/sqlite/reading.py",
        "snapshot.revision == revision",
        "snapshot.revision <= revision",
        (SQLITE + "test_a_change_of_membership_ends_a_relations_snapshot",),
    ),
    Mutant(
        "the snapshot's end",
        "a snapshot does not hold where it reaches past what is asked for",
        "adapters/sqlite/reading.py",
        "and not reaches_past(snapshot, resolved)",
        "and not snapshot.position < 0",
        (SQLITE + "test_a_snapshot_never_reaches_past_as_of",),
    ),
    Mutant(
        "an older snapshot",
        "an older snapshot never replaces a newer one",
        "adapters/sqlite/schema.py",
        '"WHERE (excluded.revision, excluded.position) >= (revision, position)"',
        '"WHERE true"',
        (SQLITE + "test_an_older_snapshot_is_passed_over",),
    ),
    Mutant(
        "a backup replaces nothing",
        "a backup never takes the place of a file",
        "adapters/sqlite/ledger.py",
        "os.link(partial, path)",
        "os.replace(partial, path)",
        (
            "tests/adapters/test_sqlite_files.py::test_a_backup_does_not_replace_a_file_that_came_while_it_was_made",
        ),
    ),
    Mutant(
        "kinds of columns",
        "a column with another kind of value is reported as damage",
        "adapters/sqlite/failures.py",
        "if kinds != _KINDS and kinds != _KINDS_UNCAUSED:",
        "if len(kinds) != len(_KINDS):",
        (
            "tests/store/test_damage.py::test_reading_a_column_with_another_kind_of_value_raises_before_it_is_used",
        ),
    ),
    Mutant(
        "readers cannot write",
        "the connections that read cannot write",
        "adapters/sqlite/connections.py",
        'connection.execute("PRAGMA query_only = ON")',
        'connection.execute("PRAGMA query_only = OFF")',
        ("tests/adapters/test_sqlite_writers.py::test_a_connection_that_reads_cannot_write",),
    ),
]

MUTANTS = [*FILES, *SEQUENCER, *RULES, *COMMITTER]
