"""The other bank: a stub over HTTP that takes payments, and honours the idempotency key."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class OtherBank:
    """A receiver of payments on a loopback port. A key that it has seen gets the same receipt."""

    def __init__(self) -> None:
        self.payments: dict[str, int] = {}
        """The amount of each payment that was made, by key."""
        self.calls: Counter[str] = Counter()
        """How often each was asked for."""
        bank = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                asked = json.loads(self.rfile.read(length))
                key = self.headers["Idempotency-Key"]
                bank.calls[key] += 1
                bank.payments.setdefault(key, asked["amount"])
                body = json.dumps({"receipt": f"R-{key[-6:]}"}).encode()
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
        """Where it takes payments."""
        return f"http://127.0.0.1:{self._server.server_port}/payments"

    def __enter__(self) -> OtherBank:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


def pay(url: str, key: str, payee: str, amount: int) -> str:
    """Asks the other bank to take a payment; returns its receipt."""
    body = json.dumps({"payee": payee, "amount": amount}).encode()
    request = urllib.request.Request(url, body, {"Idempotency-Key": key})  # noqa: S310 - loopback
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        receipt: str = json.loads(answer.read())["receipt"]
    return receipt
