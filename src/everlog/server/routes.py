"""Routes: the one table of what can be asked, of whom, and how; the server and its documents are
made from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from everlog.wire.protocol import JSON, NDJSON, SSE


class Needs(Enum):
    """What who asks must be allowed to."""

    NOTHING = "nothing"
    """Anybody may ask, without a token."""
    TOKEN = "token"  # noqa: S105
    """Whoever has a token."""
    PULL = "pull"
    """Whoever may read something; what, is looked at then."""
    PUSH = "push"
    """Whoever may write something."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a path, query or header."""

    name: str
    place: str
    schema: Mapping[str, Any]
    about: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Route:
    """Something that can be asked."""

    method: str
    path: str
    name: str
    """That of the method which answers, and of the operation in the OpenAPI document."""
    about: str
    needs: Needs
    gives: tuple[str, ...] = (JSON,)
    """The media types of its answer, the default first."""
    schema: str = "Object"
    """The schema of its answer in JSON, or of a line of it."""
    takes: str | None = None
    """The media type of the body that it needs."""
    body: str = "Object"
    """The schema of that, or of a line of it."""
    parameters: tuple[Parameter, ...] = field(default=())
    is_tagged: bool = False
    """Whether its answer may have an ETag, and is not sent to who has it."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


_NAME: Mapping[str, Any] = {"type": "string", "minLength": 1, "maxLength": 255}
_NAMES: Mapping[str, Any] = {"type": "array", "items": _NAME}
_POSITION: Mapping[str, Any] = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_CURSOR: Mapping[str, Any] = {"type": "string", "default": "0"}

_SCOPE = (
    Parameter("prefix", "query", _NAME, "Only streams whose names begin so."),
    Parameter("relation", "query", _NAME, "Only streams that are in this relation."),
    Parameter("type", "query", _NAMES, "Only events of these types."),
)
_LEDGER = Parameter(
    "Everlog-Ledger",
    "header",
    {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "The id of the ledger of who asks.",
)

_KNOWN = Parameter(
    "If-None-Match",
    "header",
    {"type": "string"},
    "The ETag of the answer that is known: if it still holds, 304 is said in its place.",
)

ROUTES: tuple[Route, ...] = (
    Route(
        "POST",
        "/v1/hello",
        "hello",
        "Introduces an edge: what hub this is, and the newest of the places that both have.",
        Needs.TOKEN,
        schema="Reception",
        takes=JSON,
        body="Greeting",
    ),
    Route(
        "GET",
        "/v1/pull",
        "pull",
        "Gives the next piece of history behind a cursor; as server-sent events, all of it.",
        Needs.PULL,
        gives=(NDJSON, SSE),
        schema="PieceLine",
        parameters=(
            Parameter("cursor", "query", _CURSOR, "What a piece ended with, or 0."),
            Parameter(
                "limit",
                "query",
                {"type": "integer", "minimum": 1, "maximum": 1_000, "default": 500},
                "Records in a piece, at most.",
            ),
            *_SCOPE,
            Parameter(
                "Last-Event-ID",
                "header",
                {"type": "string"},
                "A cursor; it rules over the query's.",
            ),
            _LEDGER,
            _KNOWN,
        ),
        is_tagged=True,
    ),
    Route(
        "POST",
        "/v1/push",
        "push",
        "Takes in records of an edge, a line each, and judges each on its own.",
        Needs.TOKEN,
        schema="Pushed",
        takes=NDJSON,
        body="OfferLine",
        parameters=(
            Parameter(
                "Everlog-Cursor", "header", {"type": "string"}, "How far the edge has got.", True
            ),
            Parameter(
                "Everlog-Ledger",
                "header",
                {"type": "string", "pattern": "^[0-9a-f]{32}$"},
                "The id of the ledger of who asks.",
                True,
            ),
            *_SCOPE,
        ),
    ),
    Route(
        "POST",
        "/v1/append",
        "append",
        "Appends events to the hub's own ledger, all or none of them.",
        Needs.PUSH,
        schema="Made",
        takes=JSON,
        body="Append",
    ),
    Route(
        "GET",
        "/v1/wait",
        "wait",
        "Answers once the log has grown past a position, or after a while.",
        Needs.TOKEN,
        schema="Position",
        parameters=(
            Parameter("position", "query", _POSITION, "That of the last record known.", True),
            Parameter(
                "timeout_s",
                "query",
                {"type": "number", "minimum": 0, "maximum": 30},
                "So long at most.",
            ),
        ),
    ),
    Route(
        "GET",
        "/v1/read",
        "read",
        "Reads the first page of the records that meet all conditions.",
        Needs.PULL,
        gives=(NDJSON,),
        schema="PageLine",
        parameters=(
            Parameter("stream", "query", _NAMES, "Of these streams."),
            *_SCOPE,
            Parameter("after", "query", {"type": "string"}, "A position, or a resume token."),
            Parameter("until", "query", _POSITION, "Up to this position."),
            Parameter("as_of", "query", {"type": "string"}, "Created by this stamp."),
            Parameter("limit", "query", _POSITION, "So many at most."),
            Parameter("backwards", "query", {"type": "boolean"}, "The last first."),
            Parameter(
                "order", "query", {"enum": ["position", "created"]}, "As recorded, or as created."
            ),
        ),
    ),
    Route(
        "POST",
        "/v1/read",
        "read_page",
        "Reads a page of the records that meet all conditions: the first, or one that follows.",
        Needs.PULL,
        gives=(NDJSON,),
        schema="PageLine",
        takes=JSON,
        body="Read",
    ),
    Route(
        "POST",
        "/v1/find",
        "find",
        "Gives the records of these ids, null for each that is not there or not to be seen.",
        Needs.PULL,
        schema="Found",
        takes=JSON,
        body="Ids",
    ),
    Route(
        "GET",
        "/v1/streams/{stream}",
        "stream",
        "Says how far a stream has got.",
        Needs.PULL,
        schema="Stream",
        parameters=(Parameter("stream", "path", _NAME, "Its name.", True),),
    ),
    Route(
        "POST",
        "/v1/streams",
        "streams_of",
        "Names the streams that are in any of these relations.",
        Needs.PULL,
        schema="Streams",
        takes=JSON,
        body="Relations",
    ),
    Route(
        "POST",
        "/v1/relations",
        "relations_of",
        "Names the relations that any of these streams is in.",
        Needs.PULL,
        schema="Relations",
        takes=JSON,
        body="Streams",
    ),
    Route(
        "GET",
        "/v1/status",
        "status",
        "Says what hub this is and how far it has got.",
        Needs.TOKEN,
        schema="Status",
    ),
    Route("GET", "/healthz", "health", "Says that the server answers.", Needs.NOTHING),
    Route(
        "GET",
        "/openapi.json",
        "document",
        "This document.",
        Needs.NOTHING,
        parameters=(_KNOWN,),
        is_tagged=True,
    ),
)
