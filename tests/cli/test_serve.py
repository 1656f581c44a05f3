"""`everlog serve` and `everlog token`: what they do, how they end, and what they never say."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from everlog.cli.command_line import main
from everlog.server import Pattern, TokenFile
from tests.cli.pseudo_terminal import on_terminal
from tests.scenarios.processes import environment
from tests.server.serving import secret_in, serving

Capture = pytest.CaptureFixture[str]


def ask(url: str, token: str | None = None) -> tuple[int, dict[str, object]]:
    """The status and the JSON that a URL answers with."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as reply:
            return reply.status, json.load(reply)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_a_token_is_made_listed_and_taken_back(tmp_path: Path, capsys: Capture) -> None:
    file = str(tmp_path / "hub.tokens")
    made = ["token", "create", file, "shop", "--pull", "all", "--expires", "90d"]
    assert main([*made, "--push", "prefix=order-,type=a", "--push", "relation=eu"]) == 0
    plain = capsys.readouterr().out.strip()
    assert plain.startswith("evl_")
    assert main(["token", "list", file]) == 0
    listed = capsys.readouterr().out
    assert listed.splitlines()[1].startswith("shop\tuntil 2")
    assert listed.splitlines()[0] == "name\tstate\tpull\tpush\tledger"
    assert "\tall\tprefix=order-,type=a;relation=eu\tnone yet\n" in listed
    assert plain.split("_", 2)[2] not in listed
    assert main(["token", "revoke", file, "shop"]) == 0
    assert main(["token", "list", file]) == 0
    assert "revoked 2" in capsys.readouterr().out


def test_in_json_a_token_is_an_object_and_its_secret_is_there_once(
    tmp_path: Path, capsys: Capture
) -> None:
    file = str(tmp_path / "hub.tokens")

    def one(*arguments: str) -> dict[str, Any]:
        assert main(["token", *arguments, "--json"]) == 0
        [line] = capsys.readouterr().out.splitlines()
        found: dict[str, Any] = json.loads(line)
        return found

    made = one("create", file, "shop", "--pull", "all", "--push", "prefix=order-")
    plain = made.pop("token")
    assert plain.startswith("evl_")
    assert made.pop("created_at").endswith("Z")
    assert made == {
        "name": "shop",
        "state": "valid",
        "pull": ["all"],
        "push": ["prefix=order-"],
        "ledger": None,
        "expires_at": None,
        "revoked_at": None,
    }
    listed = one("list", file)
    assert {name: listed[name] for name in made} == made
    assert plain.split("_", 2)[2] not in json.dumps(listed)
    assert one("revoke", file, "shop") == {"revoked": "shop"}
    gone = one("list", file)
    assert (gone["state"], gone["revoked_at"] is not None) == ("revoked", True)
    assert main(["token", "revoke", file, "other", "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["error"] == "NotFound"


def test_on_a_terminal_tokens_are_a_table(tmp_path: Path) -> None:
    assert on_terminal("token", "list", "hub.tokens", cwd=tmp_path) == "<dim>no tokens</>\n"
    TokenFile(tmp_path / "hub.tokens").create("shop", pull=[_all()])
    assert on_terminal("token", "list", "hub.tokens", cwd=tmp_path) == (
        "<bold>name  state  pull  push     ledger</>\n"
        "<cyan>shop</>  valid  <green>all </>  <yellow>nothing</>  <dim>none yet</>\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "FILE", "shop"], "may do nothing"),
        (["create", "FILE", "shop", "--pull", "everything"], "is no pattern"),
        (["create", "FILE", "shop", "--pull", "prefix="], "must not be empty"),
        (["create", "FILE", "a\nb", "--pull", "all"], "control characters"),
        (["create", "no/such/FILE", "shop", "--pull", "all"], "cannot be changed"),
        (["revoke", "FILE", "shop"], "there is no token 'shop'"),
        (["list", "BAD"], "holds no tokens"),
        (["create", "BAD", "shop", "--pull", "all"], "holds no tokens"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("BAD").write_text('{"format":1,"tokens":[{"name":"x"}]}')
    assert main(["token", *arguments]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert said in error
    assert error.count("\n") == 1
    assert Path("BAD").read_text() == '{"format":1,"tokens":[{"name":"x"}]}'


@pytest.mark.parametrize(
    "arguments",
    [
        ["token"],
        ["token", "create", "f", "n", "--pull", "all", "--expires", "soon"],
        ["token", "create", "f", "n", "--pull", "all", "--ledger", "x"],
        ["serve"],
        ["serve", "memory:", "--port", "70000"],
        ["serve", "memory:", "--key", "k"],
    ],
)
def test_what_is_not_understood_ends_with_2(
    arguments: list[str], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVERLOG_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "usage: everlog" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(number: int, tmp_path: Path) -> None:
    with serving(f"sqlite:///{tmp_path}/hub.db", "--strict", "order-") as server:
        status, said = ask(f"{server.url}/v1/status")
        assert status == 200
        assert said["strict"] == ["order-"]
        code, out, error = server.stop(number)
        assert (code, out) == (0, "stopped\n")
        assert error == "everlog: without tokens: for this machine alone\n"


def test_bodies_that_hang_do_not_keep_it_from_ending_well() -> None:
    begun = (
        b"POST /v1/append HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 1000\r\n\r\n{"
    )
    with serving("memory:") as server, ExitStack() as lines:
        for _ in range(3):
            address = ("127.0.0.1", server.port)
            line = lines.enter_context(socket.create_connection(address, timeout=100))
            line.sendall(begun)
        assert ask(f"{server.url}/healthz")[0] == 200  # by now it has those that came before
        code, out, error = server.stop()
        assert (code, out) == (0, "stopped\n")
        assert error.splitlines() == [
            "everlog: without tokens: for this machine alone",
            "connections that are cut off, 10 s after the stop: 3",
        ]


def test_in_json_it_says_when_it_listens_and_when_it_has_stopped(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "everlog", "serve", "memory:", "--port", "0", "--json"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            url = said.pop("url")
            assert said == {"event": "listening", "tokens": False}
            assert ask(f"{url}/v1/status")[0] == 200
            process.send_signal(signal.SIGTERM)
            out, error = process.communicate(timeout=100)
        finally:
            process.kill()
    assert (process.returncode, out, error) == (0, '{"event":"stopped"}\n', "")


def test_in_json_what_is_not_safe_is_an_object_too(capsys: Capture) -> None:
    assert main(["serve", "memory:", "--port", "0", "--host", "0.0.0.0", "--json"]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert "there are no tokens" in json.loads(error)["message"]


def test_it_serves_those_who_have_a_token_and_says_nothing_of_secrets(tmp_path: Path) -> None:
    file = tmp_path / "hub.tokens"
    plain = TokenFile(file).create("shop", pull=[_all()], push=[_all()])
    secret = secret_in(tmp_path)
    url = f"sqlite:///{tmp_path}/hub.db"
    with serving(url, "--tokens", str(file), "--secret-file", str(secret)) as server:
        assert ask(f"{server.url}/v1/status")[0] == 401
        assert ask(f"{server.url}/v1/status", plain)[0] == 200
        assert ask(f"{server.url}/v1/pull?cursor=nothing", plain)[0] == 400
        code, out, error = server.stop()
        assert (code, out, error) == (0, "stopped\n", "")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tokens", "hub.tokens"], "needs the secret of its receipts"),
        (["--host", "0.0.0.0"], "there are no tokens"),
        (["--tokens", "hub.tokens", "--secret-file", "hub.secret", "--host", "0.0.0.0"], "TLS"),
        (["--secret-file", "none"], "cannot be read"),
        (["--secret-file", "open.secret"], "others can read"),
        (["--secret-file", "short.secret"], "holds no secret"),
        (["--certificate", "none.pem"], "certificate"),
        (["--tokens", "BAD"], "holds no tokens"),
    ],
)
def test_what_is_not_safe_is_not_served(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EVERLOG_SECRET", raising=False)
    secret_in(tmp_path)
    for name, mode, text in (("open", 0o644, "5e" * 32), ("short", 0o600, "kumquat")):
        path = Path(f"{name}.secret")
        path.write_text(text)
        path.chmod(mode)
    Path("BAD").write_text("{}")
    assert main(["serve", "memory:", "--port", "0", *arguments]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert said in error
    assert "kumquat" not in error
    assert "5e5e" not in error


def test_a_file_of_tokens_that_two_change_at_once_has_what_both_did(tmp_path: Path) -> None:
    file = tmp_path / "hub.tokens"
    program = (
        "import sys; from everlog.server import Pattern, TokenFile\n"
        "for i in range(10): TokenFile(sys.argv[1]).create(f'{sys.argv[2]}-{i}', pull=[Pattern()])"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", program, file, str(child)], env=environment())
        for child in range(4)
    ]
    assert [child.wait(100) for child in children] == [0] * 4
    assert len(TokenFile(file).tokens()) == 40
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def _all() -> Pattern:
    return Pattern()
