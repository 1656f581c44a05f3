"""`postgres()` works as whoever runs the tests, though PostgreSQL itself refuses root."""

import os
import pwd
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from everlog.errors import CannotOpen
from everlog.testing.postgresql.binaries import binaries_of_the_wheel, copied
from everlog.testing.postgresql.identity import find_identity
from tests.testing.postgres_programs import Program, on_linux

ROOT = os.geteuid() == 0
WITHOUT_A_NAME = 54321


@pytest.fixture(autouse=True)
def _no_server_from_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVERLOG_TEST_POSTGRES", raising=False)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="everlog-test-") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def forbidden(place: Path) -> str:
    """A PATH on which user namespaces are forbidden, as most containers forbid them."""
    folder = place / "forbidden"
    folder.mkdir()
    (folder / "unshare").write_text(
        "#!/bin/sh\necho unshare: Operation not permitted >&2\nexit 1\n"
    )
    (folder / "unshare").chmod(0o755)
    return os.pathsep.join([str(folder), os.environ["PATH"]])


def run(name: str, *arguments: object, **variables: str) -> dict[str, Any]:
    """Runs a program that starts, kills and starts a server; returns what it tells of it."""
    with Program(name, *arguments, **variables) as program:
        told = program.hear()
        assert program.go_on() == 0
    assert told["answer"] == 42
    assert not Path(told["folder"]).exists()
    return dict(told)


def test_a_server_runs_as_whoever_runs_the_tests() -> None:
    me = os.geteuid()
    told = run("run_through", None)
    by_us = not ROOT or bool(find_identity().prefix)
    assert told["owner"] == (me if by_us else pwd.getpwnam("nobody").pw_uid)
    assert told["runs as"] in (told["owner"], None)


if ROOT:  # others are not turned into anybody, and cannot try what another user sees

    def test_where_user_namespaces_are_forbidden_root_runs_a_server_as_nobody(
        forbidden: str,
    ) -> None:
        told = run("run_through", None, PATH=forbidden)
        assert told["owner"] == pwd.getpwnam("nobody").pw_uid
        assert told["runs as"] in (told["owner"], None)

    def test_nobody_is_given_a_copy_of_programs_that_only_root_can_read(
        forbidden: str, place: Path
    ) -> None:
        binaries = copied(binaries_of_the_wheel(), place / "private")
        (place / "private").chmod(0o700)
        run("run_through", str(binaries), PATH=forbidden)

    @pytest.mark.parametrize("user", [pwd.getpwnam("daemon").pw_uid, pwd.getpwnam("nobody").pw_uid])
    def test_a_server_runs_as_an_ordinary_user(user: int, place: Path) -> None:
        told = run("as_user", user, str(copied(binaries_of_the_wheel(), place)), HOME=str(place))
        assert told["owner"] == user
        assert told["runs as"] in (user, None)

    def test_a_server_runs_as_a_user_without_a_name_where_user_namespaces_are_allowed(
        place: Path,
    ) -> None:
        with pytest.raises(KeyError):
            pwd.getpwuid(WITHOUT_A_NAME)
        binaries = copied(binaries_of_the_wheel(), place)
        if may_unshare(WITHOUT_A_NAME):
            told = run("as_user", WITHOUT_A_NAME, str(binaries), HOME=str(place))
            assert told["owner"] == WITHOUT_A_NAME
            assert told["runs as"] in (WITHOUT_A_NAME, None)
        else:
            with Program("as_user", WITHOUT_A_NAME, str(binaries), HOME=str(place)) as program:
                assert program.hear() is None
                assert program.go_on() == 1


def may_unshare(user: int) -> bool:
    if not on_linux():
        return False
    command = ["unshare", "--user", "--map-user=1", "--map-group=1", "true"]
    done = subprocess.run(command, user=user, group=user, extra_groups=[], capture_output=True)
    return done.returncode == 0


def test_root_without_another_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_there(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(pwd, "getpwnam", nobody_there)
    with pytest.raises(CannotOpen, match="no user nobody"):
        find_identity()
