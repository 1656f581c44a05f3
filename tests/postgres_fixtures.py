"""PostgreSQL servers for tests, one of a kind for each process of pytest.

The end of pytest's report says what each of them said to SHOW fsync.
"""

from collections.abc import Generator
from pathlib import Path

import pytest

from everlog.testing import PostgresServer, postgres
from everlog.testing.postgresql.binaries import binaries_of_the_wheel, major_version

OLDEST = 14
"""The oldest PostgreSQL that everlog works with."""

TOLD = pytest.StashKey[list[str]]()


def older_binaries() -> dict[str, Path]:
    """Returns the programs of older servers that are installed here, by their major version."""
    newest = major_version(binaries_of_the_wheel())
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), *Path("/usr").glob("pgsql-*/bin")]
    found = {major_version(folder): folder for folder in folders if (folder / "postgres").exists()}
    return {str(major): found[major] for major in sorted(found) if OLDEST <= major < newest}


OLDER = older_binaries()

EACH = ["newest", *(pytest.param(major, marks=pytest.mark.once) for major in OLDER)]
"""Values of a parameter: what is sent to an older server is the same with every Python."""


@pytest.fixture(scope="session")
def postgres_server(request: pytest.FixtureRequest) -> Generator[PostgresServer]:
    """A server, fast and not durable. Leave it running; make databases of your own."""
    with postgres() as server:
        tell(request.config, "postgres_server", server)
        yield server


@pytest.fixture(scope="session")
def durable_postgres(request: pytest.FixtureRequest) -> Generator[PostgresServer]:
    """A server that syncs what is committed. Who kills it starts it again."""
    with postgres(durable=True) as server:
        tell(request.config, "durable_postgres", server)
        yield server


@pytest.fixture(scope="session")
def trusting_postgres(request: pytest.FixtureRequest) -> Generator[PostgresServer]:
    """A fast server that trusts whoever connects, whatever EVERLOG_TEST_POSTGRES names.

    For proxies of ours that log in themselves.
    """
    with postgres(binaries=binaries_of_the_wheel()) as server:
        tell(request.config, "trusting_postgres", server)
        yield server


@pytest.fixture(scope="session", params=EACH)
def each_postgres(request: pytest.FixtureRequest) -> Generator[PostgresServer]:
    """`postgres_server`, and then one of each older version that is installed here."""
    major: str = request.param
    if major == "newest":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        yield server
    else:
        with postgres(binaries=OLDER[major]) as server:
            tell(request.config, f"each_postgres[{major}]", server)
            yield server


def tell(config: pytest.Config, fixture: str, server: PostgresServer) -> None:
    """Says which server it is, in the report's end and beside a test that fails."""
    line = f"{fixture}: {server!r}"
    print(line)
    config.stash.setdefault(TOLD, []).append(line)


def pytest_sessionfinish(session: pytest.Session) -> None:
    output: dict[str, object] | None = getattr(session.config, "workeroutput", None)
    if output is not None:  # a worker of xdist: what it prints is seen by nobody
        output["postgres"] = session.config.stash.setdefault(TOLD, [])


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: object) -> None:
    config: pytest.Config = getattr(node, "config")  # noqa: B009 - xdist has no types
    output: dict[str, list[str]] = getattr(node, "workeroutput", {})
    config.stash.setdefault(TOLD, []).extend(output.get("postgres", []))


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    told = config.stash.setdefault(TOLD, [])
    if told:
        terminalreporter.section("PostgreSQL")
        for line in sorted(set(told)):
            terminalreporter.write_line(line)
