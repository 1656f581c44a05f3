"""How the command ends: its exit codes, which stay what they are."""

from __future__ import annotations

DONE = 0
"""It is done; of a question, the answer is good."""
FAILED = 1
"""It cannot be done. One line on stderr says why; nothing is half done."""
MISUNDERSTOOD = 2
"""The command line was not understood."""
FOUND = 3
"""It is done, and something is wrong with what was looked at: by `verify`, `doctor`, `sync`."""
AWAY = 4
"""The hub was not reached: `sync --once`."""
INTERRUPTED = 130
"""By Ctrl-C."""
CLOSED = 141
"""Nobody reads its answer any more: as of a program that SIGPIPE has ended."""


class CannotDo(Exception):
    """What was asked for cannot be done, for a reason that is in the command line or its files."""
