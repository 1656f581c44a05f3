"""What is no hub ends in one clear `TransportFailed`: in time, in bounded memory, with no token."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from everlog.client.address import Address, address_of
from everlog.client.http import Answer, Http
from everlog.errors import TransportFailed
from tests.client.running import run
from tests.client.stranger import Say, answering, saying, stranger
from tests.proxies.wire import Wire
from tests.server.sockets import served
from tests.server.test_sockets import certified

TOKEN = "canary-token-5f2e"


async def asked(say: Say, **options: Any) -> Answer:
    async with stranger(say) as there:
        http = Http(address_of(there.url, token=TOKEN))
        try:
            options.setdefault("answer_s", 20.0)
            return await http.ask("GET", "/v1/pull", accept="application/x-ndjson", **options)
        finally:
            await http.close()


NDJSON = "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\n"

STRANGERS: dict[str, tuple[Say, str]] = {
    "html": (answering("200 OK", "text/html", b"<html>Welcome</html>"), "200 and text/html"),
    "html of an error": (answering("502 Bad Gateway", "text/html", b"<h1>Oh</h1>"), "502"),
    "a redirect": (
        answering("307 Go", "text/plain", b"", "location: https://elsewhere.example/v1?t=1"),
        "to https://elsewhere.example, where",
    ),
    "another kind": (answering("200 OK", "application/json", b"{}"), "application/json"),
    "no kind": (saying(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"), "200 and nothing"),
    "another status": (answering("404 Not Found", "application/x-ndjson", b""), "404"),
    "half an answer": (
        saying(NDJSON.encode() + b"content-length: 100\r\n\r\n" + b'{"from":'),
        "was cut",
    ),
    "no HTTP": (saying(b"SSH-2.0-OpenSSH_9.2\r\n"), "was cut"),
    "nothing": (saying(b""), "was cut"),
    "a bomb": (
        answering("200 OK", "application/x-ndjson", b"x" * 100, "content-encoding: gzip"),
        "gzip",
    ),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_what_is_no_hub_is_a_transport_that_failed(name: str) -> None:
    say, words = STRANGERS[name]

    async def main() -> None:
        with pytest.raises(TransportFailed) as caught:
            await asked(say)
        assert words in str(caught.value), caught.value
        assert TOKEN not in repr(caught.value) + str(caught.value)
        assert "elsewhere.example/" not in str(caught.value)

    run(main)


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b"HTTP/1.1 200 OK\r\n"],
        [NDJSON.encode() + b"content-length: 10\r\n\r\n", b'{"a"'],
    ],
    ids=["silence", "half a head", "half a body"],
)
def test_who_does_not_answer_in_time_is_not_waited_for(parts: list[bytes]) -> None:
    async def main() -> None:
        with pytest.raises(TransportFailed, match="has not answered"):
            await asked(saying(*parts, then_waits=True), answer_s=0.3)

    run(main)


@pytest.mark.parametrize("drip", [b"x", b"x" * 65536], ids=["by drops", "by floods"])
def test_an_endless_body_is_cut_off(drip: bytes) -> None:
    async def main() -> None:
        sent = 0

        async def flood(wire: Wire) -> None:
            nonlocal sent
            await wire.write(NDJSON.encode() + b"\r\n")
            while not wire.is_closing:
                await wire.write(drip)
                sent += len(drip)
                if len(drip) == 1:
                    await asyncio.sleep(0.01)

        options = {"answer_s": 0.5} if len(drip) == 1 else {"most_bytes": 1_000_000}
        with pytest.raises(TransportFailed, match=r"has not answered|more than 1,000,000"):
            await asked(flood, **options)
        assert sent < 20_000_000

    run(main)


def test_a_length_over_the_limit_is_not_read() -> None:
    async def main() -> None:
        say = saying(NDJSON.encode() + b"content-length: 99999999999\r\n\r\n", then_waits=True)
        with pytest.raises(TransportFailed, match="more than"):
            await asked(say)

    run(main)


def test_the_token_is_in_one_header_and_not_in_the_url() -> None:
    async def main() -> None:
        async with stranger(answering("200 OK", "application/x-ndjson", b"{}\n")) as there:
            http = Http(address_of(there.url, token=TOKEN))
            answer = await http.ask(
                "GET", "/v1/pull", accept="application/x-ndjson", query=[("cursor", "0")]
            )
            await http.close()
        assert answer.body == b"{}\n"
        [head] = there.heard
        first, *lines = head.split(b"\r\n")
        assert first == b"GET /v1/pull?cursor=0 HTTP/1.1"
        assert [line for line in lines if TOKEN.encode() in line] == [
            f"authorization: Bearer {TOKEN}".encode()
        ]
        assert TOKEN not in repr(http) + repr(http.__dict__)

    run(main)


def test_a_kept_connection_that_is_gone_is_made_again_once() -> None:
    async def main() -> None:
        calls = 0

        async def first_hangs_up(wire: Wire) -> None:
            nonlocal calls
            calls += 1
            if calls > 1:
                await answering("200 OK", "application/x-ndjson", b"{}\n")(wire)

        assert (await asked(first_hangs_up)).status == 200
        assert calls == 2

    run(main)


def test_who_is_not_there_says_so_without_its_words() -> None:
    async def main() -> None:
        async with stranger(saying()) as there:
            pass
        http = Http(address_of(there.url, token=TOKEN))
        with pytest.raises(TransportFailed, match=r"127\.0\.0\.1:\d+ cannot be reached"):
            await http.ask("GET", "/v1/status", accept="application/json")
        await http.close()

    run(main)


def test_a_stream_of_events_is_given_as_it_comes() -> None:
    async def main() -> None:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
        async with stranger(saying(head + b"data: 1\n\n", then_waits=True)) as there:
            http = Http(address_of(there.url, token=None))

            async def listen() -> None:
                async with http.listen("/v1/pull", query=[], headers={}, silence_s=0.3) as said:
                    assert isinstance(said, AsyncIterator)
                    assert await anext(said) == b"data: 1\n\n"
                    await anext(said)

            with pytest.raises(TransportFailed, match="has not answered"):
                await listen()
            await http.close()

    run(main)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_of_the_environment_are_trusted_on_this_machine_as_well(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        files = await certified(tmp_path)
        trusted = {"SSL_CERT_FILE": files["certificate"], "SSL_CERT_DIR": tmp_path / "trusted"}
        await asyncio.to_thread(folder_of, files["certificate"], trusted["SSL_CERT_DIR"])
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.delenv("SSL_CERT_DIR", raising=False)
        async with served(**files) as (_, server):
            address = address_of(f"https://localhost:{server.port}", token=None)
            assert address.near
            with pytest.raises(TransportFailed, match="CERTIFICATE_VERIFY_FAILED"):
                await health(address)
            monkeypatch.setenv(variable, str(trusted[variable]))
            assert (await health(address)).status == 200

    async def health(address: Address) -> Answer:
        http = Http(address, answer_s=20.0)
        try:
            return await http.ask("GET", "/healthz", accept="application/json")
        finally:
            await http.close()

    run(main)


def folder_of(certificate: Path, folder: Path) -> None:
    """Makes a folder of certificates, as OpenSSL looks them up there."""
    folder.mkdir()
    shutil.copy(certificate, folder / "hub.pem")
    subprocess.run(["openssl", "rehash", str(folder)], check=True, capture_output=True)


def test_a_proxy_of_the_environment_does_not_stand_between_two_programs_of_one_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        async with stranger(answering("200 OK", "text/html", b"a proxy")) as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            assert (await asked(answering("200 OK", "application/x-ndjson", b"{}\n"))).status == 200
            assert not proxy.heard

    run(main)
