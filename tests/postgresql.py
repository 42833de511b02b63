"""PostgreSQL on loopback: a server of its own in a folder of its own, which no other user can read."""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

HOST, USER = "127.0.0.1", "demandcast"
SECONDS = 60.0


class PostgreSQL:
    """A running server, of one superuser with a password."""

    def __init__(self, folder: Path, port: int) -> None:
        self.password = secrets.token_hex(8)
        self._folder, self._port, self._databases = folder, port, 0
        # The server refuses to be root.
        self._user = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
        if self._user:
            shutil.chown(folder, "nobody", "nogroup")
        secret = folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        data = ("-D", str(folder / "data"))
        how = ("--auth=scram-sha-256", f"--username={USER}", f"--pwfile={secret}", "--encoding=UTF8")
        subprocess.run([_binary("initdb"), *data, *how], check=True, stdout=subprocess.DEVNULL, **self._user)
        self.come()

    def come(self) -> None:
        """Starts it, and waits until it answers."""
        where = (
            "-p",
            str(self._port),
            "-c",
            f"listen_addresses={HOST}",
            "-c",
            f"unix_socket_directories={self._folder}",
        )
        command = [_binary("postgres"), "-D", str(self._folder / "data"), *where]
        with (self._folder / "log").open("a") as log:
            self._server = subprocess.Popen(command, stdout=log, stderr=log, **self._user)
        until = time.monotonic() + SECONDS
        while True:
            try:
                return self._do("select 1")
            except psycopg.OperationalError:
                assert self._server.poll() is None, (self._folder / "log").read_text()
                assert time.monotonic() < until
                time.sleep(0.1)

    def go(self) -> None:
        """As where the machine dies: nothing is written any more."""
        self._server.kill()
        self._server.wait()

    def database(self) -> str:
        """A new one's URL."""
        self._databases += 1
        self._do(f"create database d{self._databases}")
        return f"postgresql://{USER}:{self.password}@{HOST}:{self._port}/d{self._databases}"

    def _do(self, statement: str) -> None:
        where = {"host": HOST, "port": self._port, "user": USER, "password": self.password, "dbname": "postgres"}
        with psycopg.connect(**where, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def postgresql(port: int) -> Iterator[PostgreSQL]:
    """One for as long as the block lasts; skips the test where it is not installed."""
    if not _binary("initdb"):
        pytest.skip("PostgreSQL's server is not installed: apt-get install postgresql")
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = PostgreSQL(Path(folder), port)
        try:
            yield server
        finally:
            server.go()


def _binary(name: str) -> str:
    """Debian keeps those of a server where no shell finds them."""
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(debian[-1]) if debian else "")
