"""Requests made from the OpenAPI document, and those that are none: never a 5xx, memory flat.

Making a case takes longer than answering it, so each is sent as it is, and then again and again
with bytes of it changed.
"""

from __future__ import annotations

import http.client
import json
import math
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis import checks as plain_checks
from schemathesis.specs.openapi import checks as openapi_checks

from everlog.server.openapi import document
from everlog.server.routes import ROUTES
from tests.server.serving import Serving, secret_in, serving, tokens_in

pytestmark = [pytest.mark.once, pytest.mark.timeout(0)]

MUTATIONS = 9
"""So often a case is sent changed for each time that it is sent as it is."""
MEMORY_KIB = 24 * 1024
"""What a server may grow by, in KiB: what it remembers of the names of streams and types, which is
bounded, and the pages of the database."""


class Sent(NamedTuple):
    """A request as it goes over the line."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Client:
    """Sends requests on one connection as long as it holds."""

    def __init__(self, server: Serving, tokens: list[str]) -> None:
        self._server = server
        self._tokens = tokens
        self._connection: http.client.HTTPConnection | None = None
        self.statuses: Counter[int] = Counter()

    def send(self, sent: Sent) -> tuple[int, dict[str, str], bytes]:
        token = self._tokens[sum(self.statuses.values()) % len(self._tokens)]
        headers = {"Authorization": f"Bearer {token}", **sent.headers}
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._server.port)
        try:
            self._connection.request(sent.method, sent.target, sent.body or None, headers)
            reply = self._connection.getresponse()
            body = reply.read()
        except (http.client.HTTPException, OSError):
            # It has closed the line, such as on what is no HTTP; and it still has to answer others.
            self.close()
            self.statuses[0] += 1
            return 0, {}, b""
        if reply.will_close:
            self.close()
        self.statuses[reply.status] += 1
        return reply.status, {k.lower(): v for k, v in reply.getheaders()}, body

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def changed(sent: Sent, rng: random.Random) -> Sent:
    """A request with some of its bytes changed, in one of its parts."""
    part = rng.choice(["target", "target", "body", "body", "body", "header", "header", "method"])
    if sent.target.startswith("/v1/wait"):
        part = "header"  # as it says how long it waits
    if part == "method":
        return sent._replace(method=rng.choice(["GET", "POST", "PUT", "DELETE", "OPTIONS"]))
    if part == "target":
        text = bytearray(sent.target.encode())
        _spoil(text, rng)
        kept = bytes(byte for byte in text if 0x21 <= byte < 0x7F)
        return sent._replace(target="/" + kept.decode().lstrip("/"))
    if part == "body" and sent.body:
        body = bytearray(sent.body)
        _spoil(body, rng)
        return sent._replace(body=bytes(body))
    name = rng.choice(["Accept", "Content-Type", "Everlog-Cursor", "Everlog-Ledger", "X-Any"])
    value = bytearray(sent.headers.get(name, "a").encode("latin-1", "replace"))
    _spoil(value, rng)
    plain = "".join(chr(byte) for byte in value if 0x20 <= byte < 0x7F)
    return sent._replace(headers={**sent.headers, name: plain})


def _spoil(text: bytearray, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(text) + 1)
        text[at : at + rng.randint(0, 4)] = rng.choice(
            [
                *(b"", b"%00", b"%ff", b"null", b"-1", b'"', b"{}", b"[", b"\\u0000", b"\\ud800"),
                *(b"\x00", b"\xff", b"1e999", b"9" * 30, b"..", b"/", b"&", b"=", b"\n", b"\r\n"),
            ]
        )


@schemathesis.serializer("application/x-ndjson")
def as_lines(_: Any, value: Any) -> bytes:
    """Writes a list as a line for each of its items."""
    items: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value]  # pyright: ignore[reportUnknownArgumentType]
    return b"".join(json.dumps(item).encode() + b"\n" for item in items)


def described() -> dict[str, Any]:
    """The document, in which a push is a list of its lines, and that has no streams."""
    said = json.loads(json.dumps(document()))
    line = {"$ref": "#/components/schemas/OfferLine"}
    schema = {"schema": {"type": "array", "items": line, "maxItems": 5}}
    # Nobody is to wait here for what does not come.
    for parameter in said["paths"]["/v1/wait"]["get"]["parameters"]:
        if parameter["name"] == "timeout_s":
            parameter["required"] = True
            parameter["schema"]["maximum"] = 0.01
    said["paths"]["/v1/push"]["post"]["requestBody"]["content"] = {"application/x-ndjson": schema}
    return said  # type: ignore[no-any-return]


UNHEALTHY: Any = HealthCheck
PLAIN: Any = plain_checks
OPENAPI: Any = openapi_checks
CHECKS = [
    PLAIN.not_a_server_error,
    OPENAPI.status_code_conformance,
    OPENAPI.content_type_conformance,
    OPENAPI.response_schema_conformance,
]


def fuzz(server: Serving, tokens: list[str], *, requests_: int, seed: int) -> Counter[int]:
    """Sends at least so many requests; returns how often each status came."""
    rng = random.Random(seed)
    client = Client(server, tokens)
    session = requests.Session()
    session.trust_env = False
    schema: Any = schemathesis.openapi.from_dict(described())
    schema.config.update(base_url=server.url)
    each = math.ceil(requests_ / (len(ROUTES) * (1 + MUTATIONS)))
    for result in schema.get_all_operations():
        operation: Any = result.ok()
        strategy: Any = operation.as_strategy()
        prepared: list[Sent] = []
        send_case = partial(_send_case, prepared, client.statuses, session, rng, tokens)
        generated = settings(
            max_examples=each,
            deadline=None,
            database=None,
            suppress_health_check=[*UNHEALTHY],
            phases=[Phase.generate],
        )

        @generated
        @seeded(seed)
        @given(case=strategy)
        def once(case: Any) -> None:
            send_case(case)  # noqa: B023  # it runs in this turn of the loop

        once()
        assert prepared, operation.label
        for index in range(each * (1 + MUTATIONS)):
            sent = prepared[index % len(prepared)]
            status, headers, body = client.send(changed(sent, rng))
            assert status < 500, (sent, status, body)
            if status >= 400:
                assert headers["content-type"] == "application/problem+json", (sent, status, body)
                assert b"Traceback" not in body
                json.loads(body)
    client.close()
    session.close()
    return client.statuses


def _send_case(
    prepared: list[Sent],
    statuses: Counter[int],
    session: requests.Session,
    rng: random.Random,
    tokens: list[str],
    case: Any,
) -> None:
    headers = {"Authorization": f"Bearer {rng.choice(tokens)}"}
    try:
        reply = case.call(headers=headers, session=session)
    except (requests.RequestException, ValueError):
        statuses[0] += 1  # what no client of HTTP would send
        return
    case.validate_response(reply, checks=CHECKS)
    statuses[reply.status_code] += 1
    prepared.append(as_sent(reply.request))


def as_sent(request: Any) -> Sent:
    """A prepared request as it goes over the line."""
    headers = {
        str(name): str(value)
        for name, value in request.headers.items()
        if name.lower() not in ("content-length", "host", "transfer-encoding", "authorization")
    }
    body = request.body or b""
    return Sent(
        request.method,
        request.path_url,
        headers,
        body if isinstance(body, bytes) else body.encode(),
    )


def hold(folder: Path, *, rounds: int, requests_: int) -> None:
    """Fuzzes a server in rounds; it answers to the end, and does not grow."""
    file, tokens = tokens_in(folder, 100)
    arguments = ["--tokens", str(file), "--secret-file", str(secret_in(folder))]
    total: Counter[int] = Counter()
    with serving(f"sqlite:///{folder}/hub.db", *arguments) as server:
        sizes: list[int] = []
        for seed in range(rounds):
            total += fuzz(server, tokens, requests_=requests_, seed=seed)
            sizes.append(server.rss_kib())
        # The first round is when caches fill.
        assert sizes[-1] - sizes[0] < MEMORY_KIB, sizes
        code, out, error = server.stop()
        assert (code, out, error) == (0, "stopped\n", "")
    answered = sum(total.values()) - total[0]  # 0: the line was closed, or nothing could be sent
    assert answered >= rounds * requests_, total
    # It was more than being turned away: what is well formed was done, and the rest told why not.
    for status in (200, 400, 404, 405, 415, 422):
        assert total[status] > 0, total
    print(f"{answered:,} answers: {dict(total)}; KiB after each round: {sizes}")


def test_ten_thousand_requests_are_answered_without_a_failure(tmp_path: Path) -> None:
    hold(tmp_path, rounds=2, requests_=5_000)


@pytest.mark.soak
def test_a_hundred_thousand_requests_are_answered_without_a_failure(tmp_path: Path) -> None:
    hold(tmp_path, rounds=10, requests_=10_000)
