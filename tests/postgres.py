"""A PostgreSQL of Debian's on a unix socket, for tests."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WAIT_S = 60


class Postgres:
    """One server; `url` is what a collector is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
        if not found:
            pytest.skip("PostgreSQL is not installed")
        self._programs = found[-1].parent
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:  # which PostgreSQL refuses to be
            entry = pwd.getpwnam("postgres")
            os.chown(folder, entry.pw_uid, entry.pw_gid)
            self._as = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self.url = f"postgresql://postgres@/postgres?host={folder}"

    def start(self) -> None:
        """Make the database if there is none, and start the server."""
        if not (self._folder / "data").exists():
            self._run("initdb", "--username=postgres", "--auth=trust", "--no-sync", "--pgdata", self._folder / "data")
        # Syncing is what makes a commit durable against power failure; these tests kill processes only.
        options = f"-c listen_addresses='' -c unix_socket_directories={self._folder} -c fsync=off -c max_connections=40"
        self._run("pg_ctl", "start", "-w", "-D", self._folder / "data", "-o", options, "-l", self._folder / "log")

    def stop(self) -> None:
        """End it as if it had crashed: clients are cut off, and it recovers when it starts again."""
        self._run("pg_ctl", "stop", "-w", "-D", self._folder / "data", "-m", "immediate")

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._programs / program, *arguments]
        done = subprocess.run(  # noqa: PLW1510
            command, cwd=self._folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=WAIT_S, **self._as
        )
        assert done.returncode == 0, done.stderr


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Run a PostgreSQL of our own below /tmp, where its user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="vedette-postgres-"))
    try:
        made = Postgres(folder)
        made.start()
        try:
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder)
