"""Mutants of the store: group commit, cancellation, imports, folds, verifying."""

from __future__ import annotations

from tests.mutants.mutant import ANYWHERE, MEMORY, SQLITE, Mutant

COMMITTER = [
    Mutant(
        "commit out of reach",
        "a commit runs where its caller's cancellation does not reach it",
        "store/committer.py",
        "future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()",
        """async def in_callers_task():
            [outcome] = await self._ledger.commit([request])
            if isinstance(outcome, EverlogError):
                raise outcome
            if then is not None:
                then(outcome)
            return outcome
        return in_callers_task()
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
        "self._alone.extend(batch)",
        """for queued in batch:
                _fail(queued, error)""",
        (
            "tests/store/test_committer.py::test_a_failed_batch_is_retried_one_by_one_and_fails_the_guilty_alone",
        ),
    ),
    Mutant(
        "a batch that may have landed",
        "a batch of unknown outcome is not tried again, and each caller is told",
        "store/committer.py",
        "elif isinstance(error, OutcomeUnknown):",
        "elif isinstance(error, ZeroDivisionError):",
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
        "selection._replace(order=Order.CREATED)",
        "selection._replace(order=Order.POSITION)",
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
