"""The protocol: the names, kinds and sizes that both ends agree on, HTTP aside."""

from __future__ import annotations

LEDGER = "Everlog-Ledger"
"""The header of a request that names the ledger of who asks: 32 hex characters."""
CURSOR = "Everlog-Cursor"
"""The header of a push that says how far its edge has got: see `everlog.wire.cursors`."""
LAST_EVENT_ID = "Last-Event-ID"
"""The header by which a cut stream of server-sent events goes on: the cursor of the last piece."""

JSON = "application/json"
NDJSON = "application/x-ndjson"
"""A JSON value per line, each ended by a newline."""
SSE = "text/event-stream"
PROBLEM = "application/problem+json"
"""RFC 9457: what an answer that is none says."""

MAX_LINE_BYTES = 3 * 1024 * 1024
"""A line of NDJSON, at most: an event of 1 MiB of which every character has to be escaped."""
MAX_BODY_BYTES = 32 * 1024 * 1024
"""A body of a request, at most."""
MAX_PIECE = 1_000
"""Records in a piece of history or in a push, at most."""
MAX_WAIT_S = 30.0
"""So long a request may wait for news, at most, in seconds."""
MAX_IDS = 10_000
"""Ids, streams or relations that one request may ask about."""
COMMENT_S = 15.0
"""After so many seconds without a piece a stream of server-sent events says that it is alive."""
