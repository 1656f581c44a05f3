"""Requests: how an edge and a hub have something committed to their ledger."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from everlog.core.taking import Keeping, Restamp, Take, Taken

TakeIn: TypeAlias = Callable[[Take], Awaitable[Taken]]
"""Commits a request, and tells the hooks of what is new."""
Keep: TypeAlias = Callable[[Keeping | Restamp], Awaitable[int]]
"""Commits a request about what is known of upstreams."""
