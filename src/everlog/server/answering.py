"""Answering: what each route gives, once it is known who asks and that they may ask at all."""

from __future__ import annotations

import hashlib
import json

from everlog.server import openapi
from everlog.server.asking import Asking, not_now
from everlog.server.edges import Edges
from everlog.server.readers import Readers
from everlog.server.sending import Answer
from everlog.sync.hub import Hub
from everlog.wire.json_text import to_line
from everlog.wire.messages import PROTOCOL
from everlog.wire.protocol import JSON
from everlog.wire.reads import StatusText, write_status


class Answering:
    """Answers out of one hub."""

    def __init__(
        self,
        hub: Hub,
        edges: Edges,
        readers: Readers,
    ) -> None:
        self._hub = hub
        self.edges = edges
        self.news = edges.news
        self._document = json.dumps(openapi.document(), separators=(",", ":")).encode()
        self._document_tag = f'"{hashlib.sha256(self._document).hexdigest()}"'
        self.by_route = {
            "hello": edges.hello,
            "pull": edges.pull,
            "push": edges.push,
            "append": edges.append,
            "wait": edges.wait,
            "read": readers.read,
            "read_page": readers.read_page,
            "find": readers.find,
            "stream": readers.stream,
            "streams_of": readers.streams_of,
            "relations_of": readers.relations_of,
            "status": self.status,
            "health": self.health,
            "document": self.document,
        }
        """What answers each route, by its name."""

    @property
    def live(self) -> int:
        """Streams of server-sent events that there are now."""
        return self.edges.live

    async def status(self, asking: Asking) -> Answer:
        ledger = self._hub.ledger
        head = await ledger.head()
        if not asking.caller.sees_all:
            head = head._replace(newest=("", ""))  # the id of an event that may not be theirs
        status = StatusText(
            ledger.identity, head, self._hub.now_ms(), (PROTOCOL,), self._hub.strict, self.live
        )
        return Answer(write_status(status), JSON)

    async def health(self, asking: Asking) -> Answer:
        if self.news.is_stopped:
            raise not_now("the server is about to stop", retry_after_s=1.0)
        return Answer(to_line({"status": "ok"}), JSON)

    async def document(self, asking: Asking) -> Answer:
        caching = {"Cache-Control": "max-age=300", "ETag": self._document_tag}
        return Answer(self._document, JSON, headers=caching)
