"""What a collector wants of this agent: taken in, checked, kept on disk, and handed to who acts upon it.

Lists come in pieces before the policy that names them, and are kept under the SHA-256 of what they hold; so is what a
restart, or a collector that is away, does not change.  All of it is hostile until its SHA-256 is right, and bounded
even then.  In manual mode nothing is taken, and `policy.ignored` counts what came.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any
from typing import NamedTuple

from agent.counters import Counters
from vedette.v1 import policy_pb2

LIST_BYTES = 16 * 2**20  # as a collector keeps them
TOTAL_BYTES = 64 * 2**20
LISTS = 64  # those of a policy, and of the one that is about to take its place
DOCUMENT_BYTES = 48 * 1024
REASON_CHARACTERS = 300

_FILE = "policy.json"
_SHA256 = re.compile(r"[0-9a-f]{64}")

_log = logging.getLogger(__name__)


class Wanted(NamedTuple):
    """A policy as it came: its document matches its version."""

    version: str
    document: bytes


class _Coming(NamedTuple):
    """A list of which a part is here."""

    sha256: str
    size: int
    file: Path


class Inbox:
    """Policies and their lists.  The sender puts in, the pipeline takes out."""

    def __init__(self, state_dir: Path, *, managed: bool, counters: Counters) -> None:
        """Nothing is read or written before something is asked for."""
        self._directory = state_dir / "policy"
        self._managed = managed
        self._counters = counters
        self._lock = threading.Lock()
        self._coming: _Coming | None = None
        self._wanted: Wanted | None = None
        self._version: str | None = None
        self._refused: tuple[str, str] | None = None

    def part(self, part: policy_pb2.ListPart) -> None:
        """Take a piece of a list; with the last one the list is there, if it holds what it should."""
        if not self._managed:
            self._counters.add("policy.ignored")
            return
        with self._lock:
            try:
                taken = self._take(part)
            except OSError as exc:
                self._trouble(f"a list of a policy cannot be kept: {exc.strerror}")
                return
        if not taken:
            self._counters.add("policy.bad_parts")

    def policy(self, policy: policy_pb2.Policy) -> None:
        """Take a policy, for whoever asks next with `take`."""
        if not self._managed:
            self._counters.add("policy.ignored")
        elif len(policy.document) > DOCUMENT_BYTES or policy.version != hashlib.sha256(policy.document).hexdigest():
            self.refuse(policy.version, "it is too large, or not what its version says")
        else:
            with self._lock:
                self._wanted = Wanted(policy.version, policy.document)

    def take(self) -> Wanted | None:
        """Return the last policy that came, once."""
        with self._lock:
            wanted, self._wanted = self._wanted, None
        return wanted

    def kept(self) -> Wanted | None:
        """Return the policy that was in force last time; None in manual mode, or when there was none."""
        if not self._managed:
            return None
        try:
            document = (self._directory / _FILE).read_bytes()[: DOCUMENT_BYTES + 1]
        except OSError:
            return None
        return Wanted(hashlib.sha256(document).hexdigest(), document)

    def accept(self, wanted: Wanted, lists: set[str]) -> None:
        """Note that a policy is in force, keep it for the next start, and let go of the lists that it does not name."""
        with self._lock:
            self._version, self._refused = wanted.version, None
            try:
                self._keep(wanted.document)
                for file in self._lists():
                    if file.name not in lists:
                        file.unlink(missing_ok=True)
            except OSError as exc:
                self._trouble(f"a policy is in force and cannot be kept: {exc.strerror}")

    def refuse(self, version: str, why: str) -> None:
        """Note that a policy was not taken, and why; the one before stays."""
        self._counters.add("policy.refused")
        _log.warning("the collector's policy %s is not taken: %s", ascii(version[:12]), why)
        with self._lock:
            self._refused = (version[:64], why[:REASON_CHARACTERS])

    def path_of(self, sha256: str) -> Path | None:
        """Return where a list is, by the SHA-256 of what it holds; None when it is not here."""
        file = self._directory / "lists" / sha256
        return file if _SHA256.fullmatch(sha256) and file.is_file() else None

    def held(self) -> list[str]:
        """Return the SHA-256 of the lists that are here."""
        if not self._managed:
            return []
        with suppress(OSError):
            return sorted(file.name for file in self._lists())[:LISTS]
        return []

    def standing(self) -> dict[str, Any]:
        """Return what health says: the fields of PolicyStanding."""
        said: dict[str, Any] = {"mode": "managed" if self._managed else "manual", "version": self._version}
        if self._refused is not None:
            said["refused_version"], said["refused"] = self._refused
        return said

    def _take(self, part: policy_pb2.ListPart) -> bool:
        """Write a piece; tell whether it was one that belongs here.  Raises OSError."""
        if part.offset == 0 and not self._begin(part):
            return False
        coming = self._coming
        if coming is None or (coming.sha256, coming.size) != (part.sha256, part.size):
            return False
        with coming.file.open("ab") as file:
            if file.tell() != part.offset or part.offset + len(part.data) > part.size:
                self._coming = None
                return False
            file.write(part.data)
        return part.offset + len(part.data) < part.size or self._finish(coming)

    def _begin(self, part: policy_pb2.ListPart) -> bool:
        """Make room for a list; tell whether there is."""
        self._coming = None
        lists = self._directory / "lists"
        lists.mkdir(mode=0o700, parents=True, exist_ok=True)
        here = list(self._lists())
        used = sum(file.stat().st_size for file in here)
        fits = part.size <= LIST_BYTES and used + part.size <= 2 * TOTAL_BYTES and len(here) < LISTS
        if not _SHA256.fullmatch(part.sha256) or not fits:
            return False
        file = self._directory / "incoming"
        file.unlink(missing_ok=True)
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        self._coming = _Coming(part.sha256, part.size, file)
        return True

    def _finish(self, coming: _Coming) -> bool:
        """Give a whole list its name; tell whether it holds what it should."""
        self._coming = None
        with coming.file.open("rb") as file:
            good = hashlib.file_digest(file, "sha256").hexdigest() == coming.sha256
            os.fsync(file.fileno())
        if good:
            coming.file.replace(self._directory / "lists" / coming.sha256)
        else:
            coming.file.unlink()
        return good

    def _keep(self, document: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._directory / f"{_FILE}.new"
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(document)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._directory / _FILE)

    def _lists(self) -> list[Path]:
        lists = self._directory / "lists"
        return [file for file in lists.iterdir() if _SHA256.fullmatch(file.name)] if lists.is_dir() else []

    def _trouble(self, what: str) -> None:
        self._counters.add("policy.write_failed")
        _log.warning("%s", what)
