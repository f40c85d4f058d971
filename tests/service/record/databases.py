"""Real databases for the record: SQLite files, and PostgreSQL as the system has it; both can be away."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import psycopg

WITHOUT_POSTGRESQL = "PostgreSQL's server is not installed"


class RecordDatabase(Protocol):
    """Where a record is kept, looked at without the code under test."""

    url: str
    reads_while_away: bool

    def rows(self, sql: str) -> list[tuple[Any, ...]]: ...

    def away(self) -> contextlib.AbstractContextManager[None]:
        """Nothing can be written in here."""
        ...


class SqliteFile:
    """Away: another process holds the lock."""

    reads_while_away = True

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(sql).fetchall()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            yield


class Cluster:
    """A PostgreSQL server of our own, on a socket in its own directory, run by somebody who is not root."""

    def __init__(self, bin_dir: Path, home: Path) -> None:
        self._bin = bin_dir
        self._home = home
        self._names = (f"record_{number}" for number in itertools.count())
        user: dict[str, Any] = {}
        if os.geteuid() == 0:
            account = pwd.getpwnam("nobody")
            os.chown(home, account.pw_uid, account.pw_gid)
            user = {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": ()}
        self._user = user
        self._run("initdb", "-U", "rotulo", "-E", "UTF8", "--locale=C.UTF-8", "-A", "trust", "--no-sync")
        self.start()

    def start(self) -> None:
        options = f"-c listen_addresses= -c unix_socket_directories={self._home} -c fsync=off"
        self._run("pg_ctl", "start", "-w", "-o", options, "-l", str(self._home / "log"))

    def stop(self) -> None:
        """At once, as a crash would: nobody's transaction is waited for."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate")

    def database(self, encoding: str = "UTF8") -> PostgresDatabase:
        """A new one."""
        name = next(self._names)
        create = f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(create.encode())
        return PostgresDatabase(self, name)

    def dsn(self, name: str) -> str:
        return f"postgresql://rotulo@/{name}?host={self._home}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), "-D", str(self._home / "data"), *arguments]
        with (self._home / "output").open("ab") as output:
            subprocess.run(command, check=True, stdout=output, stderr=output, cwd="/", **self._user)


class PostgresDatabase:
    """Away: its server is stopped."""

    reads_while_away = False

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._name = name
        self.url = cluster.dsn(name).replace("postgresql://", "postgresql+psycopg://")

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._cluster.dsn(self._name)) as connection:
            return connection.execute(sql.encode()).fetchall()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        self._cluster.stop()
        try:
            yield
        finally:
            self._cluster.start()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """The server runs, and another transaction has the table for itself."""
        with psycopg.connect(self._cluster.dsn(self._name)) as connection:
            connection.execute("LOCK TABLE predictions IN ACCESS EXCLUSIVE MODE")
            yield
            connection.rollback()


def binaries() -> Path | None:
    """Where initdb and pg_ctl are."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return installed[-1].parent if installed else None


@contextlib.contextmanager
def cluster(bin_dir: Path) -> Iterator[Cluster]:
    """Not below pytest's directories, which only their owner may enter."""
    with tempfile.TemporaryDirectory(prefix="rotulo-pg-") as home:
        Path(home).chmod(0o700)
        running = Cluster(bin_dir, Path(home))
        try:
            yield running
        finally:
            running.stop()
