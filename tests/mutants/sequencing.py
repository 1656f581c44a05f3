"""Mutants of what an append means: the sequencer."""

from __future__ import annotations

from tests.mutants.mutant import MEMORY, SQLITE, Mutant

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
        "self._require(events)",
        "pass",
        (
            MEMORY + "test_one_of_many_writers_that_expect_the_same_version_wins",
            MEMORY + "test_an_expectation_that_a_stream_of_two_events_does_not_meet",
        ),
    ),
    Mutant(
        "versions",
        "versions of a stream are counted one by one",
        "core/sequencer.py",
        "versions[stream] = version = versions.get(stream, 0) + 1",
        "version = versions.get(stream, 0) + 1",
        (MEMORY + "test_append_many_interleaves_streams_in_the_order_given",),
    ),
    Mutant(
        "clock in the lock",
        "a stamp is later than the last that the ledger gave, also to another writer",
        "core/sequencer.py",
        "seen = max(head.clock, request.observed)",
        'seen = max("0" * 32, request.observed)',
        (
            SQLITE + "test_two_stores_over_one_ledger_share_its_clock",
            SQLITE + "test_the_clock_goes_on_after_the_store_was_opened_again_on_an_earlier_day",
        ),
    ),
    Mutant(
        "what was read",
        "a stamp is later than all that its writer has read",
        "core/sequencer.py",
        "seen = max(head.clock, request.observed)",
        "seen = head.clock",
        (MEMORY + "test_what_is_written_is_created_after_all_that_its_writer_has_read_elsewhere",),
    ),
    Mutant(
        "clock receives",
        "an imported stamp moves the ledger's clock",
        "core/stamp.py",
        "latest = seen if seen > stamp else stamp",
        "latest = seen",
        (MEMORY + "test_what_is_born_after_an_import_is_created_after_it",),
    ),
    Mutant(
        "register",
        "outdated is judged per register, and not per type",
        "core/sequencer.py",
        "register = (stream, register_)",
        "register = (stream, type_)",
        (MEMORY + "test_outdated_is_judged_by_register_and_not_by_type",),
    ),
    Mutant(
        "hydrated",
        "what comes from elsewhere is marked as hydrated",
        "core/sequencer.py",
        "arrivals.add(record, HYDRATED, max_offset_ms=bound_ms, aliases=aliases)",
        "arrivals.add(record, 0, max_offset_ms=bound_ms, aliases=aliases)",
        (MEMORY + "test_an_imported_record_is_hydrated_and_recorded_now",),
    ),
    Mutant(
        "late",
        "a record that belongs before what is here is marked as late",
        "core/sequencer.py",
        "if order < last:",
        "if order < ('', ''):",
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
        "elif not _is_same_event(present, record):",
        "elif present.id != record.id:",
        (MEMORY + "test_the_same_id_with_other_content_stamp_or_origin_is_a_conflict",),
    ),
]
