"""Mutants of what no fold has, in each ledger: orphans, and what was stamped anew."""

from __future__ import annotations

from tests.mutants.mutant import MEMORY, POSTGRES, SQLITE, Mutant
from tests.mutants.synchronising import STAMPING

_ONE_AND_BACK = "test_what_the_upstream_has_as_an_orphan_now_is_one_and_back"
_IN_NO_FOLD = "test_an_orphan_takes_no_version_no_register_and_is_in_no_fold"
_ONE_OF_AN_EVENT = "test_of_the_records_of_one_event_folds_have_the_earliest_whatever_comes_first"
_ON_ITS_WAY = "test_what_was_folded_before_records_were_taken_out_is_not_stored_after_it"
_CHECKING = "tests/adapters/test_checking_unfolded.py::"

UNFOLDED = [
    Mutant(
        "orphans in folds",
        "a fold in a file leaves out orphans",
        "adapters/sqlite/reading.py",
        "sql += schema.FOLDED",
        "sql += ''",
        (SQLITE + _IN_NO_FOLD + "[on time]", SQLITE + _IN_NO_FOLD + "[late]"),
    ),
    Mutant(
        "orphans in folds of PostgreSQL",
        "a fold in PostgreSQL leaves out orphans",
        "adapters/postgres/paging.py",
        "where += schema.FOLDED",
        "where += ''",
        (POSTGRES + _IN_NO_FOLD,),
    ),
    Mutant(
        "snapshots of an orphan",
        "a state that has an event in it which is an orphan now is dropped",
        "adapters/memory/upstreams.py",
        "if snapshot.position >= min(changed):",
        "if snapshot.position > max(changed):",
        (MEMORY + _ONE_AND_BACK,),
    ),
    Mutant(
        "registers of orphans",
        "the newest of a register is one that folds have",
        "adapters/memory/writing.py",
        "recount(tables, changed)",
        "_ = changed",
        (MEMORY + _ONE_AND_BACK,),
    ),
    Mutant(
        "registers of orphans in a file",
        "the newest of a register is one that folds have",
        "adapters/sqlite/writing.py",
        "recount(connection, changed)",
        "_ = changed",
        (SQLITE + _ONE_AND_BACK,),
    ),
    Mutant(
        "registers of orphans in PostgreSQL",
        "the newest of a register is one that folds have",
        "adapters/postgres/writing.py",
        "_recounted(changed),",
        "(),",
        (POSTGRES + _ONE_AND_BACK,),
    ),
    Mutant(
        "registers of what was replaced",
        "what was stamped ahead and replaced outdates nothing any more",
        "adapters/sqlite/writing.py",
        "changed += replace(connection, sequencer.replaced)",
        "replace(connection, sequencer.replaced)",
        (SQLITE + _ONE_OF_AN_EVENT,),
    ),
    Mutant(
        "registers of what was replaced in PostgreSQL",
        "what was stamped ahead and replaced outdates nothing any more",
        "adapters/postgres/writing.py",
        "changed += yield from _replace(sequencer.replaced)",
        "yield from _replace(sequencer.replaced)",
        (POSTGRES + _ONE_OF_AN_EVENT,),
    ),
    Mutant(
        "one record of an event in folds",
        "of an event that was stamped anew folds have one record, whatever comes when",
        "core/sequencer.py",
        "self.replaced.update(replaced_by(aliases.get(event, ())))",
        "_ = event, replaced_by",
        (MEMORY + _ONE_OF_AN_EVENT, *STAMPING),
    ),
    Mutant(
        "the same record of an event in every ledger",
        "of the records of an event folds have the earliest",
        "core/aliases.py",
        "counts = min(records, key=lambda record: record.order)",
        "counts = min(records, key=lambda record: record.position)",
        (MEMORY + _ONE_OF_AN_EVENT, *STAMPING),
    ),
    Mutant(
        "handlers have an event once",
        "handlers of all do not see the old record and the new one",
        "core/sequencer.py",
        "                if others:\n                    flags |= RESTAMPED\n",
        "",
        (MEMORY + _ONE_OF_AN_EVENT, *STAMPING),
    ),
    Mutant(
        "what was stamped anew is seen among many",
        "a piece with a record that was stamped anew is not taken for one without",
        "core/aliases.py",
        'return _MARK not in "".join(ids) or all(',
        'return "" in "".join(ids) or all(',
        (MEMORY + _ONE_OF_AN_EVENT, *STAMPING),
    ),
    Mutant(
        "one key of an event",
        "the effect of an event that was stamped anew is not called for under another key",
        "core/record.py",
        "first_id(self.stored)))",
        "self.stored.id))",
        STAMPING,
    ),
    Mutant(
        "aliases are looked for in a file",
        "a ledger finds the other records of an event",
        "adapters/sqlite/writing.py",
        "known |= _by_id(found.fetchall())",
        "_ = found",
        (SQLITE + _ONE_OF_AN_EVENT,),
    ),
    Mutant(
        "aliases are looked for in PostgreSQL",
        "a ledger finds the other records of an event",
        "adapters/postgres/writing.py",
        "_by_id([*known, *aliases]),",
        "_by_id(known),",
        (POSTGRES + _ONE_OF_AN_EVENT,),
    ),
    Mutant(
        "snapshots of what was replaced",
        "a state that has the old record of an event in it is dropped",
        "adapters/sqlite/upstreams.py",
        "connection.execute(schema.DELETE_SNAPSHOTS_FROM, (min(changed),))",
        "pass",
        (SQLITE + _ONE_OF_AN_EVENT,),
    ),
    Mutant(
        "whose record it is",
        "nobody else's record takes the place of an event",
        "core/aliases.py",
        "return Event(record.origin, record.stream, first_id(record))",
        'return Event("", record.stream, first_id(record))',
        (MEMORY + "test_what_others_call_so_is_no_record_of_an_event_from_here",),
    ),
    Mutant(
        "snapshots on their way",
        "a state is not stored after an event in it was taken out of folds",
        "adapters/memory/writing.py",
        "if request.unfoldings not in (None, tables.unfoldings):",
        "if request.unfoldings is tables:",
        (MEMORY + _ON_ITS_WAY,),
    ),
    Mutant(
        "snapshots on their way to a file",
        "a state is not stored after an event in it was taken out of folds",
        "adapters/sqlite/schema.py",
        '"WHERE coalesce(?, unfoldings) = unfoldings "',
        '"WHERE coalesce(?, 0) >= 0 "',
        (SQLITE + _ON_ITS_WAY,),
    ),
    Mutant(
        "snapshots on their way to PostgreSQL",
        "a state is not stored after an event in it was taken out of folds",
        "adapters/postgres/schema.py",
        '"WHERE coalesce(%(unfoldings)s, h.unfoldings) = h.unfoldings "',
        '"WHERE coalesce(%(unfoldings)s, h.unfoldings) >= 0 "',
        (POSTGRES + _ON_ITS_WAY,),
    ),
    Mutant(
        "pages of one fold",
        "a fold of several pages begins again where folds have other records meanwhile",
        "store/folding.py",
        "if pages > 1 and await",
        "if pages < 1 and await",
        (
            "tests/store/test_folds_of_several_pages.py::test_a_fold_of_several_pages_"
            "has_each_event_once_whatever_is_stamped_anew_meanwhile",
        ),
    ),
    Mutant(
        "marks of having come late are checked",
        "check finds a wrong mark also where a clock was set back",
        "adapters/sqlite/schema.py",
        "WHERE late <> (NOT born AND coalesce(place < newest, 0)) OR (NOT late AND place < latest)",
        "WHERE (NOT late AND place < latest)",
        (_CHECKING + "test_each_mark_of_having_come_late_is_checked[sqlite]",),
    ),
    Mutant(
        "what is on time is in the order of folds",
        "check finds that something in folds stands out of their order",
        "adapters/postgres/schema.py",
        "WHERE late <> (NOT born AND coalesce(place < newest, false)) "
        "OR (NOT late AND place < latest)",
        "WHERE late <> (NOT born AND coalesce(place < newest, false))",
        (_CHECKING + "test_what_is_out_of_the_order_of_folds_is_found[postgres]",),
    ),
]
