"""The contract suite: what every ledger promises, as tests that any adapter can be held to.

Bind an adapter by saying how it is opened; run it with pytest:

    class TestMine(StoreContract):
        async def open_ledger(self, place: Path, seams: Seams) -> Ledger:
            return await MyLedger.open(place, seams=seams)

`StoreContract` holds all of it: what a store over the ledger does, and `LedgerContract`, what the
port itself does. What the adapter cannot do it declares in its capabilities; the suite then expects
that to be refused. An adapter that is not `whole` names in `not_carried` the tests that ask for
what it cannot: each of them then has to end in `NotSupported`, which says what to do instead.
"""

from __future__ import annotations

import pytest

# Before they are imported, so that a failing assert shows its values here as in any test.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{topic}"
        for topic in (
            "appending",
            "backing_up",
            "clocks",
            "committing",
            "expecting",
            "folding",
            "following",
            "history",
            "importing",
            "lifecycle",
            "listing",
            "paging",
            "portability",
            "purging",
            "reading",
            "relating",
            "resuming",
            "retrying",
            "scene",
            "snapshotting",
            "synchronising",
            "unfolding",
            "verifying",
            "waiting",
        )
    )
)

from everlog.testing.contract.appending import Appending  # noqa: E402 - see above
from everlog.testing.contract.backing_up import BackingUp  # noqa: E402
from everlog.testing.contract.clocks import Clocks  # noqa: E402
from everlog.testing.contract.committing import Committing  # noqa: E402
from everlog.testing.contract.expecting import Expecting  # noqa: E402
from everlog.testing.contract.folding import Folding  # noqa: E402
from everlog.testing.contract.following import FollowingRecords  # noqa: E402
from everlog.testing.contract.history import History  # noqa: E402
from everlog.testing.contract.importing import Importing  # noqa: E402
from everlog.testing.contract.lifecycle import Lifecycle  # noqa: E402
from everlog.testing.contract.listing import ListingStreams  # noqa: E402
from everlog.testing.contract.paging import Paging  # noqa: E402
from everlog.testing.contract.portability import Portability  # noqa: E402
from everlog.testing.contract.purging import Purging  # noqa: E402
from everlog.testing.contract.reading import ReadingRecords  # noqa: E402
from everlog.testing.contract.relating import Relating  # noqa: E402
from everlog.testing.contract.resuming import Resuming  # noqa: E402
from everlog.testing.contract.retrying import Retrying  # noqa: E402
from everlog.testing.contract.scene import Contract, Scene  # noqa: E402
from everlog.testing.contract.snapshotting import Snapshotting  # noqa: E402
from everlog.testing.contract.synchronising import Synchronising  # noqa: E402
from everlog.testing.contract.unfolding import Unfolding  # noqa: E402
from everlog.testing.contract.verifying import Verifying  # noqa: E402
from everlog.testing.contract.waiting import WaitingForRecords  # noqa: E402

__all__ = ["Contract", "LedgerContract", "Scene", "StoreContract"]


class LedgerContract(Committing, Synchronising, Unfolding, Purging, Paging, History):
    """What the `Ledger` port promises, called directly."""


class StoreContract(
    Appending,
    Expecting,
    Retrying,
    ReadingRecords,
    Resuming,
    WaitingForRecords,
    FollowingRecords,
    Folding,
    Relating,
    ListingStreams,
    Snapshotting,
    Importing,
    Portability,
    Clocks,
    Verifying,
    BackingUp,
    Lifecycle,
    LedgerContract,
):
    """Everything: the store over the ledger, and the ledger itself."""
