"""The carrier: somebody outside, who takes parcels and honours the key that comes with each."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Carrier:
    """Takes parcels on a loopback port. A key that it has seen gets the same number."""

    def __init__(self) -> None:
        self.parcels: dict[str, str] = {}
        """The address of each parcel that it has, by key."""
        self.calls: Counter[str] = Counter()
        """How often each was handed over."""
        carrier = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                asked = json.loads(self.rfile.read(length))
                key = self.headers["Idempotency-Key"]
                carrier.calls[key] += 1
                carrier.parcels.setdefault(key, asked["address"])
                body = json.dumps({"number": f"P-{key[-6:]}"}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where it takes parcels."""
        return f"http://127.0.0.1:{self._server.server_port}/parcels"

    def __enter__(self) -> Carrier:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def hand_over(url: str, key: str, address: str) -> str:
    """Hands a parcel to the carrier; returns its number."""
    body = json.dumps({"address": address}).encode()
    request = urllib.request.Request(url, body, {"Idempotency-Key": key})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        number: str = json.loads(answer.read())["number"]
    return number
