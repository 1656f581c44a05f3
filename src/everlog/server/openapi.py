"""The OpenAPI document, made from the route table."""

from __future__ import annotations

from typing import Any

from everlog.server.routes import ROUTES, Needs, Parameter, Route
from everlog.wire.messages import PROTOCOL
from everlog.wire.protocol import JSON, NDJSON, PROBLEM

PROBLEMS: dict[str, str] = {
    "400": "It is not of the protocol.",
    "401": "The token is missing, wrong, expired or revoked.",
    "403": "The token does not go so far.",
    "404": "There is no such path, stream or relation.",
    "405": "The path takes other methods.",
    "406": "None of the media types that are accepted can be given.",
    "408": "The body did not come in time.",
    "409": "The log is not in the state that the request relies on, or has another history.",
    "412": "A stream is not at the version that was expected.",
    "413": "The body, or an event in it, is too large.",
    "415": "The body has another media type, or is compressed.",
    "422": "What is asked for cannot be done, as its values are not right.",
    "429": "Too many requests; `Retry-After` says when to ask again.",
    "431": "The headers, with path and query, are too large.",
    "500": "The server failed; its log says where.",
    "503": "Not now; `Retry-After` says when to ask again.",
}
"""What each status means that is a problem."""

_NAME = {"type": "string", "minLength": 1, "maxLength": 255}
_TEXT = {"type": "string"}
_HEX32 = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
_HEX64 = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_NUMBER = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
_FLAG = {"type": "boolean"}


def _object(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": schema}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


_MARK = {"type": "array", "prefixItems": [_NUMBER, _HEX64], "minItems": 2, "maxItems": 2}
_SCOPE = _object(prefix=_NAME, relation=_NAME, types=_list(_NAME))
_ENVELOPE = {
    "id": _NAME,
    "stream": _NAME,
    "type": _NAME,
    "schema": {"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    "register": _NAME,
    "origin": _NAME,
    "correlation": _NAME,
    "causation": _or_null(_NAME),
    "created": _HEX32,
    "nonce": _HEX64,
    "data": {"type": "string", "description": "Canonical JSON, as it is stored and hashed."},
    "meta": {"type": "string", "description": "Canonical JSON, as it is stored and hashed."},
    "hash": _HEX64,
}
_PLACED = {
    "record": _object(*_ENVELOPE, **_ENVELOPE),
    "position": _NUMBER,
    "version": _NUMBER,
    "flags": {"type": "integer", "minimum": 0, "maximum": 255},
    "recorded": _TEXT,
    "chain": _HEX64,
}
_EVENT = _object(
    "stream",
    "type",
    "data",
    id=_NAME,
    stream=_NAME,
    type=_NAME,
    schema={"type": "integer", "minimum": 1, "maximum": 2**31 - 1},
    register=_NAME,
    data={"description": "The event as JSON; a text is taken for the JSON itself."},
    meta={"description": "What is said about it, likewise."},
    correlation=_NAME,
    causation=_or_null(_NAME),
    nonce=_HEX64,
    expect={"anyOf": [{"enum": ["any", "new", "exists"]}, _NUMBER]},
)
_SELECTION = _object(
    streams=_list(_NAME),
    relation=_NAME,
    prefix=_NAME,
    types=_list(_NAME),
    after=_NUMBER,
    until=_NUMBER,
    as_of=_HEX32,
    limit=_NUMBER,
    backwards=_FLAG,
    order={"enum": ["position", "created"]},
    seen=_TEXT,
    resolved=_FLAG,
)
_PAGE_CURSOR = _object(
    "position",
    "given",
    position=_NUMBER,
    late=_or_null(_list(_TEXT)),
    given=_NUMBER,
    ended={"enum": ["", "on time", "late"]},
)

SCHEMAS: dict[str, dict[str, Any]] = {
    "Object": {"type": "object"},
    "Greeting": _object(
        "protocol",
        "ledger",
        "node",
        "instance",
        protocol=_list(_NUMBER),
        ledger=_HEX32,
        node=_NAME,
        instance=_NAME,
        checkpoints=_list(_MARK),
        scope=_SCOPE,
    ),
    "Reception": _object(
        "ledger",
        "epoch",
        "now_ms",
        "max_offset_ms",
        "strict",
        "limits",
        ledger=_HEX32,
        epoch=_TEXT,
        now_ms=_NUMBER,
        max_offset_ms=_NUMBER,
        strict=_list(_NAME),
        resume=_or_null(_MARK),
        scope_id=_TEXT,
        limits=_object("records", "bytes", records=_NUMBER, bytes=_NUMBER),
        stable=_NUMBER,
    ),
    "Record": _object(*_PLACED, **_PLACED),
    "PieceLine": {
        "anyOf": [
            _object(*_PLACED, **_PLACED, receipt=_HEX64),
            _object(
                "from",
                "chain",
                "epoch",
                "scope",
                **{"from": _NUMBER},
                chain=_HEX64,
                epoch=_TEXT,
                scope=_TEXT,
            ),
            _object(
                "to",
                "chain",
                "up_to_date",
                "stable",
                "cursor",
                to=_NUMBER,
                chain=_HEX64,
                up_to_date=_FLAG,
                stable=_NUMBER,
                cursor=_TEXT,
            ),
        ]
    },
    "OfferLine": _object(*_PLACED, **_PLACED, hub_version=_NUMBER, receipt=_HEX64),
    "Pushed": _object(
        "epoch",
        "from",
        "chain",
        "now_ms",
        "stable",
        "results",
        epoch=_TEXT,
        **{"from": _NUMBER},
        chain=_HEX64,
        now_ms=_NUMBER,
        stable=_NUMBER,
        results=_list(
            _object(
                "id",
                "status",
                "reason",
                id=_TEXT,
                status={
                    "enum": [
                        *("accepted", "duplicate", "out_of_scope", "clock_ahead", "rejected"),
                        *("tampered", "waiting"),
                    ]
                },
                position=_or_null(_NUMBER),
                reason=_TEXT,
            )
        ),
    ),
    "Append": _object(
        "events",
        events={"type": "array", "items": _EVENT, "minItems": 1},
        relations=_list(
            {"type": "array", "prefixItems": [_NAME, _NAME], "minItems": 2, "maxItems": 2}
        ),
        observed={"type": "string", "pattern": "^([0-9a-f]{32})?$"},
        at=_or_null(_MARK),
        hub=_or_null(_HEX32),
    ),
    "Made": _object("records", "at", records=_list(_ref("Record")), at=_or_null(_MARK)),
    "Found": _object("records", records=_list(_or_null(_ref("Record")))),
    "Position": _object("position", position=_NUMBER),
    "Read": _object(
        "selection",
        selection=_SELECTION,
        cursor=_or_null(_PAGE_CURSOR),
        size={"type": "integer", "minimum": 1, "maximum": 1_000},
    ),
    "PageLine": {
        "anyOf": [
            _ref("Record"),
            _object(
                "page",
                page=_object(
                    "selection", "cursor", selection=_SELECTION, cursor=_or_null(_PAGE_CURSOR)
                ),
            ),
        ]
    },
    "Ids": _object("ids", ids={"type": "array", "items": _NAME, "maxItems": 10_000}),
    "Streams": _object("streams", streams=_list(_NAME)),
    "Relations": _object("relations", relations=_list(_NAME)),
    "Stream": _object(
        "stream",
        "version",
        "position",
        "created",
        stream=_NAME,
        version=_NUMBER,
        position=_NUMBER,
        created=_HEX32,
    ),
    "Status": _object(
        "protocol",
        "ledger",
        "epoch",
        "position",
        "chain",
        protocol=_list(_NUMBER),
        ledger=_HEX32,
        node=_TEXT,
        epoch=_TEXT,
        position=_NUMBER,
        chain=_HEX64,
        clock=_TEXT,
        newest=_list(_TEXT),
        now_ms=_NUMBER,
        strict=_list(_NAME),
        live=_NUMBER,
    ),
    "Problem": _object(
        "type",
        "title",
        "status",
        "detail",
        "code",
        type=_TEXT,
        title=_TEXT,
        status={"type": "integer", "minimum": 400, "maximum": 599},
        detail=_TEXT,
        code=_TEXT,
        facts={"type": "object"},
    ),
}


def document() -> dict[str, Any]:
    """Returns the OpenAPI document."""
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "everlog hub",
            "version": str(PROTOCOL),
            "description": "A ledger that is offered to its edges. Lines of application/x-ndjson "
            "are described by the schema of one line.",
        },
        "paths": paths,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.about,
        "parameters": [_parameter(each) for each in route.parameters],
        "responses": {
            "200": {"description": "Done.", "content": {m: _content(route, m) for m in route.gives}}
        },
        "security": [] if route.needs is Needs.NOTHING else [{"token": []}],
    }
    if route.is_tagged:
        tag = {"ETag": {"description": "Where the answer may be kept.", "schema": _TEXT}}
        operation["responses"]["200"]["headers"] = tag
        operation["responses"]["304"] = {
            "description": "The answer is still the one of the ETag in `If-None-Match`.",
            "headers": tag,
        }
    if route.takes is not None:
        # A line of NDJSON is described, and not the whole, which has no schema of its own.
        schema = _ref(route.body) if route.takes == JSON else {"type": "string"}
        operation["requestBody"] = {"required": True, "content": {route.takes: {"schema": schema}}}
    for status, about in PROBLEMS.items():
        operation["responses"][status] = {
            "description": about,
            "content": {PROBLEM: {"schema": _ref("Problem")}},
        }
    return operation


def _content(route: Route, media: str) -> dict[str, Any]:
    if media == JSON:
        return {"schema": _ref(route.schema)}
    kind = "A line" if media == NDJSON else "The data of an event"
    return {"schema": {"type": "string", "description": f"{kind} is a {route.schema}."}}


def _parameter(parameter: Parameter) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "name": parameter.name,
        "in": parameter.place,
        "description": parameter.about,
        "required": parameter.required or parameter.place == "path",
        "schema": dict(parameter.schema),
    }
    if parameter.schema.get("type") == "array":
        fields["explode"] = True
    return fields
