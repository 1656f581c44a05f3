"""A stand-in for curl, where there is none: the options of `docs/how-to/curl.md`, and no others."""

from __future__ import annotations

import http.client
import sys
from pathlib import Path
from urllib.parse import urlsplit


def main(arguments: list[str]) -> int:
    """Sends one request as curl would; returns the exit code."""
    headers: dict[str, str] = {"Accept": "*/*"}
    body: bytes | None = None
    url, out, said, fails = "", "", "", False
    rest = iter(arguments)
    for each in rest:
        if each == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif each == "--data-binary":
            value = next(rest)
            body = Path(value[1:]).read_bytes() if value.startswith("@") else value.encode()
        elif each == "-o":
            out = next(rest)
        elif each == "-w":
            said = next(rest)
        elif each.startswith("-") and not each.strip("-sSfN"):
            fails = fails or "f" in each
        elif each.startswith("-") or url:
            print(f"curl: the stand-in has no {each}", file=sys.stderr)
            return 2
        else:
            url = each
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    method = "GET" if body is None else "POST"
    connection.request(method, f"{parts.path}?{parts.query}".rstrip("?"), body, headers)
    response = connection.getresponse()
    if fails and response.status >= 400:
        print(f"curl: (22) The requested URL returned error: {response.status}", file=sys.stderr)
        return 22
    with open(out, "wb") if out else sys.stdout.buffer as file:
        while chunk := response.read1(65_536):
            file.write(chunk)
            file.flush()
        if said and not out:
            file.write(_shown(said, response.status))
    if said and out:
        sys.stdout.buffer.write(_shown(said, response.status))
    return 0


def _shown(said: str, status: int) -> bytes:
    return said.replace("%{http_code}", str(status)).replace("\\n", "\n").encode()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
