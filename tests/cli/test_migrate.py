"""`everlog migrate`: what it does, how it ends, and what it never says."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import psycopg
import pytest

import everlog
from everlog import EventStore
from everlog.adapters.postgres.connections import Place
from everlog.cli.command_line import main
from everlog.testing import PostgresServer, postgres
from tests.adapters.databases import NOTHING, as_user, ask, picture, until
from tests.scenarios.processes import environment

SECRET = "kumquat-marmalade"


@pytest.fixture
def url(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv("EVERLOG_URL", raising=False)
    return postgres_server.new_database()


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "everlog", *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=False,
    )


Capture = pytest.CaptureFixture[str]


def test_it_creates_a_ledger_once_and_says_so(url: str, capsys: Capture) -> None:
    assert main(["migrate", url, "--dry-run"]) == 0
    assert capsys.readouterr() == (
        "would apply 0001 ledger\nwould apply 0002 subscriptions\nwould apply 0003 sync\n",
        "",
    )
    assert picture(url) == NOTHING
    assert main(["migrate", url]) == 0
    assert capsys.readouterr() == (
        "applied 0001 ledger\napplied 0002 subscriptions\napplied 0003 sync\n",
        "",
    )
    for again in (["migrate", url], ["migrate", url, "--dry-run"]):
        assert main(again) == 0
        assert capsys.readouterr() == ("nothing is lacking\n", "")


def test_what_was_applied_is_told_in_json(url: str, capsys: Capture) -> None:
    assert main(["migrate", url, "--dry-run", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == {"number": 1, "name": "ledger", "applied": False}
    assert main(["migrate", "--json", url]) == 0
    assert all(json.loads(line)["applied"] for line in capsys.readouterr().out.splitlines())
    assert main(["migrate", url, "--json"]) == 0
    assert capsys.readouterr() == ("", "")


def test_what_it_prints_is_the_script_and_changes_nothing(url: str, capsys: Capture) -> None:
    assert main(["migrate", url, "--print", "--schema", "audit", "--grant-to", "app"]) == 0
    script = asyncio.run(everlog.migration_script(url, schema="audit", grant_to="app"))
    assert capsys.readouterr() == (script, "")
    assert picture(url, "audit") == NOTHING
    main(["migrate", url, "--schema", "audit"])
    capsys.readouterr()
    assert main(["migrate", url, "--print", "--schema", "audit"]) == 0
    assert capsys.readouterr() == ("", "everlog: nothing is lacking\n")
    assert picture(url) == NOTHING
    assert picture(url, "audit") != NOTHING


def test_all_steps_are_printed_without_a_url_or_a_server(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVERLOG_URL", raising=False)
    whole = asyncio.run(everlog.migration_script("postgresql://", whole=True, schema="audit"))
    for url in ([], ["postgresql://nobody@127.0.0.1:1/nothing"]):
        assert main(["migrate", *url, "--print", "--all", "--schema", "audit"]) == 0
        assert capsys.readouterr() == (whole, "")


def test_the_url_comes_from_the_environment_unless_it_is_given(url: str) -> None:
    done = run("migrate", EVERLOG_URL=f"{url}?schema=one&readers=2&migrate=false")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "applied 0001 ledger\napplied 0002 subscriptions\napplied 0003 sync\n",
        "",
    )
    assert run("migrate", url, EVERLOG_URL="postgresql://127.0.0.1:1/nothing").returncode == 0
    assert picture(url, "one") != NOTHING
    assert picture(url) != NOTHING


def test_a_ledger_that_needs_no_migrations_lacks_none(tmp_path: Path, capsys: Capture) -> None:
    url = f"sqlite:///{tmp_path}/log.db"
    assert main(["migrate", url]) == 0
    assert capsys.readouterr() == ("nothing is lacking\n", "")
    assert main(["migrate", url, "--print", "--all"]) == 0
    assert capsys.readouterr() == ("", "everlog: nothing is lacking\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ("postgresql://me:kumquat-marmalade@127.0.0.1:1/app", "Connection refused"),
        ("postgresql://me:kumquat-marmalade@127.0.0.1:1/app?schema=A", "name of a schema"),
        ("postgresql://me:kumquat-marmalade@127.0.0.1:1/app?colour=red", "libpq knows"),
        ("postgresql://me:kumquat@marmalade@127.0.0.1/app", "%40"),
        ("postgresql://me:kumquat/marmalade@127.0.0.1/app", "%2F"),
        ("postgresql://me:kumquat?marmalade@127.0.0.1:1/app", "Connection refused"),
        ("postgresql://me:kumquat%zzmarmalade@127.0.0.1/app", "%XX"),
        ("postgresql://127.0.0.1:1/app?user=me&password=kumquat-marmalade", "Connection refused"),
        ("postgresql+asyncpg://me:kumquat-marmalade@127.0.0.1/app", "unknown kind of store"),
        ("host=127.0.0.1 user=me password=kumquat-marmalade", "a URL is needed"),
        ("nonsense", "no URL of a store"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_without_a_secret(
    wrong: str, says: str, capsys: Capture
) -> None:
    for more in ([], ["--dry-run"], ["--print"]):
        assert main(["migrate", wrong, *more]) == 1
        out, error = capsys.readouterr()
        assert out == ""
        assert error.startswith("everlog: ")
        assert error.count("\n") == 1
        assert says in error
        assert not {"kumquat", "marmalade"} & {*error.replace("-", " ").split()}
        assert "kumquat" not in error
        assert "marmalade" not in error


def test_a_ledger_that_it_must_not_touch_ends_it_with_1(url: str, capsys: Capture) -> None:
    main(["migrate", url])
    ask(url, "INSERT INTO everlog.migrations VALUES (999, 'future', 'x')")
    capsys.readouterr()
    assert main(["migrate", url]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert "at migration 999" in error
    assert "upgrade this one" in error


GIVEN = f"postgresql://me:{SECRET}@127.0.0.1:1/app"
MISUNDERSTOOD = {
    "no command": [],
    "a URL in the place of the command": [GIVEN],
    "no URL": ["migrate"],
    "two URLs": ["migrate", GIVEN, GIVEN],
    "a password of its own": ["migrate", GIVEN, "--password", SECRET],
    "the same in one": ["migrate", GIVEN, f"--password={SECRET}"],
    "a switch with a value": ["migrate", GIVEN, f"--dry-run={SECRET}"],
    "print and dry run": ["migrate", GIVEN, "--print", "--dry-run"],
    "all without print": ["migrate", GIVEN, "--all"],
    "grants without print": ["migrate", GIVEN, "--grant-to", "app"],
    "a schema without a name": ["migrate", GIVEN, "--schema"],
    "a password with blanks": ["migrate", "--url", f"postgresql://me:a {SECRET} b@h/d", "x", "y"],
}


@pytest.mark.parametrize("case", MISUNDERSTOOD)
def test_what_is_not_understood_ends_it_with_2_and_is_not_repeated(
    case: str, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EVERLOG_URL", raising=False)
    with pytest.raises(SystemExit) as caught:
        main(MISUNDERSTOOD[case])
    assert caught.value.code == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("usage: everlog")
    assert "error: " in error
    assert SECRET not in error
    assert "me:" not in error


def test_a_url_in_the_place_of_a_schema_is_not_repeated(url: str, capsys: Capture) -> None:
    assert main(["migrate", url, "--schema", GIVEN]) == 1
    assert SECRET not in capsys.readouterr().err


def test_help_and_version_answer_without_a_server_and_without_the_url() -> None:
    for arguments in (["--help"], ["migrate", "--help"]):
        done = run(*arguments, EVERLOG_URL=GIVEN, PGPASSWORD=SECRET)
        assert (done.returncode, done.stderr) == (0, "")
        assert "migrate" in done.stdout
        assert SECRET not in done.stdout
    assert "EVERLOG_URL" in run("migrate", "--help").stdout
    assert run("--version").stdout == f"everlog {everlog.__version__}\n"


def test_a_password_stands_in_no_list_of_processes_or_sessions() -> None:
    with postgres(password=SECRET) as server:
        url = server.new_database()
        with psycopg.connect(url) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(%s)", (Place({}).migration_key,))
            with subprocess.Popen(
                [sys.executable, "-m", "everlog", "migrate"],
                env=environment(EVERLOG_URL=url),
                stdout=subprocess.PIPE,
                text=True,
            ) as process:
                try:
                    waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory'"
                    until(lambda: ask(url, waiting), "the command, waiting for the lock")
                    listed = subprocess.run(
                        ["ps", "-A", "-o", "pid=,args="], capture_output=True, text=True, check=True
                    ).stdout
                    sessions = ask(url, "SELECT s::text FROM pg_stat_activity AS s")
                finally:
                    holder.rollback()
                said, _ = process.communicate(timeout=60)
        assert (process.returncode, said) == (
            0,
            "applied 0001 ledger\napplied 0002 subscriptions\napplied 0003 sync\n",
        )
        assert str(process.pid) in listed
        assert SECRET not in listed
        assert SECRET not in str(sessions)
        assert SECRET not in server.log.read_text("utf-8")

        wrong = as_user(url, "postgres", f"{SECRET}-not")
        done = run("migrate", EVERLOG_URL=wrong)
        assert done.returncode == 1
        assert "password authentication failed" in done.stderr
        assert SECRET not in done.stderr

        async def open_by_another_way() -> None:
            async with EventStore.open(url, migrate=False):
                pass

        asyncio.run(open_by_another_way())


def test_ctrl_c_ends_it_with_130_and_without_a_traceback(url: str) -> None:
    with psycopg.connect(url) as holder:
        holder.execute("SELECT pg_advisory_xact_lock(%s)", (Place({}).migration_key,))
        with subprocess.Popen(
            [sys.executable, "-m", "everlog", "migrate", url],
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
            # A shell may have started this with SIGINT ignored.
            preexec_fn=_hear_ctrl_c,
        ) as process:
            waiting = (
                "SELECT pid FROM pg_stat_activity WHERE wait_event = 'advisory' "
                "AND datname = current_database()"
            )
            until(lambda: ask(url, waiting), "the command, waiting for the lock")
            process.send_signal(2)
            _, error = process.communicate(timeout=60)
        assert (process.returncode, error) == (130, "everlog: interrupted\n")
    assert picture(url) == NOTHING


def _hear_ctrl_c() -> None:
    import signal

    signal.signal(signal.SIGINT, signal.default_int_handler)


def test_nobody_who_reads_on_is_no_reason_to_complain() -> None:
    command = [sys.executable, "-m", "everlog", "migrate", "--print", "--all"]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            command,
            env=environment(),
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_the_script_everlog_is_installed_and_is_this_command() -> None:
    [script] = distribution("everlog").entry_points.select(group="console_scripts")
    assert (script.name, script.load()) == ("everlog", main)
    done = subprocess.run(
        [Path(sys.executable).parent / "everlog", "--version"], capture_output=True, text=True
    )
    assert done.stdout == f"everlog {everlog.__version__}\n"
