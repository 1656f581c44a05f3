"""The gap torture: many processes write to one ledger at once, and nothing may be lost.

    from everlog.testing.torture import torture

    report = torture("sqlite:////var/tmp/torture.db", seconds=10)
    assert report.ok, report

Or, from a shell: `python -m everlog.testing.torture URL --seconds 60`. It needs no test framework.

What goes wrong in event stores goes wrong between processes, and between a write and its commit: a
reader passes a position whose transaction is still open, and never sees it. So writers in several
processes append in every way there is, are cancelled, paused, killed and tried again, and readers
in other processes follow all the while. In the end the readers must have seen exactly what the
ledger holds, in order; what was acknowledged must be in it once, everything else at most once.

The events stay in the ledger: use one that is made for it, and that nobody else writes to.
"""

from __future__ import annotations

from everlog.testing.torture.report import Report
from everlog.testing.torture.torturing import torture

__all__ = ["Report", "torture"]
