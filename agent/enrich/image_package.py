"""Which package of a container's image a program is from, by the databases below the container's root.

    python -I -S image_package.py ROOT_FD PATH SIZE_BYTES CHANGED_AT_NS

A child that exits, and that imports nothing of ours: what it reads was written by
whoever is root in the container.  It is nobody by then, sees regular files alone and
links that end below that root, and has bounds of bytes, memory and processor time.
Says a JSON object: `name`, `version`, `manager`, `intact`; an empty one for a program of no package.

dpkg: `var/lib/dpkg/info/*.md5sums`, and of distroless images `var/lib/dpkg/status.d`.
rpm: `rpmdb.sqlite`, read here, with the headers of lib/header.c of rpm 4.16 and newer.

Blind to: databases of Berkeley DB and NDB (Amazon Linux 2, SUSE); apk and pacman;
diversions of dpkg; the content of programs that only their owner may read.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import resource
import sqlite3
import stat
import struct
import sys
from collections.abc import Iterator
from contextlib import closing
from contextlib import suppress
from typing import NamedTuple

NOBODY = 65534
MEMORY_BYTES = 512 << 20
CPU_S = 4
NAMES = 20_000  # in a directory of dpkg: a large desktop has 4,000 packages, with some ten files each
LIST_BYTES = 4 << 20  # of one package: linux-source has 6 MiB, and no programs
LISTS_BYTES = 128 << 20
STATUS_BYTES = 32 << 20
DATABASE_BYTES = 96 << 20  # of rpm: 20 MiB in Amazon Linux 2023's image
PROGRAM_BYTES = 256 << 20
TEXT = 200
PACKAGES = 16  # that claim one path
_OPENAT2 = 437
_HOW = struct.Struct("QQQ")  # struct open_how: flags, mode, resolve
_RESOLVE = 0x10 | 0x02  # RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_INFO, _DISTROLESS, _STATUS = "var/lib/dpkg/info", "var/lib/dpkg/status.d", "var/lib/dpkg/status"
_RPM = ("usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite")
_MD5_DIGITS = 32
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ENTRY = struct.Struct(">4I")  # of a header: tag, type, offset, count
_NAME, _VERSION, _RELEASE, _DIGESTS, _INDEXES, _BASENAMES, _DIRECTORIES = 1000, 1001, 1002, 1035, 1116, 1117, 1118
_TAGS = frozenset({_NAME, _VERSION, _RELEASE, _DIGESTS, _INDEXES, _BASENAMES, _DIRECTORIES})
_DAMAGE = (sqlite3.Error, struct.error, LookupError, ValueError)
_libc = ctypes.CDLL(None, use_errno=True)


class Owner(NamedTuple):
    """A package that claims a path."""

    name: str
    digest: str
    """MD5 or SHA-256 of what it shipped, in hexadecimal; `""` where it shipped none."""
    manager: str
    version: str | None


def main(arguments: list[str]) -> None:
    """Print what is known of a program."""
    root, path = int(arguments[0]), arguments[1]
    confine()
    sys.stdout.write(json.dumps(about(root, path, (int(arguments[2]), int(arguments[3])))))


def confine() -> None:
    """Become nobody, with bounds.  Raises OSError when that is not possible."""
    for what, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)


def about(root: int, path: str, seen: tuple[int, int]) -> dict[str, object]:
    """Return what is known of the program at `path` below `root`; nothing when it is not that of `seen` any more.

    `seen` are its size in bytes and its ctime in nanoseconds.
    """
    with closing_fd(opened(root, path, os.O_PATH | os.O_CLOEXEC)) as fd:
        now = os.fstat(fd)
    if (now.st_size, now.st_ctime_ns) != seen or not stat.S_ISREG(now.st_mode):
        return {}
    claims = [*of_dpkg(root, path), *of_rpm(root, path)][:PACKAGES]
    if not claims:
        return {}
    content = digests(root, path, now.st_size)
    owner = next((one for one in claims if one.digest in content), claims[0])
    known = bool(content) and bool(owner.digest)
    intact = owner.digest in content if known else None
    version = owner.version and owner.version[:TEXT]
    return {"name": owner.name[:TEXT], "version": version, "manager": owner.manager, "intact": intact}


def digests(root: int, path: str, size_bytes: int) -> set[str]:
    """Return MD5 and SHA-256 of a file; nothing when it cannot be read whole."""
    made = [hashlib.new(kind, usedforsecurity=False) for kind in ("md5", "sha256")]
    with suppress(OSError), closing_fd(opened(root, path, _READ)) as fd:
        left = PROGRAM_BYTES if size_bytes <= PROGRAM_BYTES else 0
        while left > 0 and (chunk := os.read(fd, min(left, 1 << 20))):
            left -= len(chunk)
            for digest in made:
                digest.update(chunk)
        return {digest.hexdigest() for digest in made} if left > 0 else set()
    return set()


def of_dpkg(root: int, path: str) -> Iterator[Owner]:
    """Yield the packages whose lists of digests have a path."""
    plain = path.lstrip("/")
    spelled = {plain, plain.removeprefix("usr/")} if plain.startswith(_merged(root)) else {plain}
    needles = [f"  {dot}{one}\n".encode() for one in spelled for dot in ("", "./")]
    left = LISTS_BYTES
    files = [(folder, name) for folder in (_INFO, _DISTROLESS) for name in sorted(names(root, folder))]
    for folder, name in files:
        content = read(root, f"{folder}/{name}", min(LIST_BYTES, left)) if name.endswith(".md5sums") else b""
        left -= len(content)
        package = name.removesuffix(".md5sums").partition(":")[0]
        for at in [at for at in map(content.find, needles) if at >= _MD5_DIGITS]:
            digest = content[at - _MD5_DIGITS : at].decode("ascii", "replace")
            yield Owner(package, digest, "dpkg", dpkg_version(root, folder, package))


def dpkg_version(root: int, folder: str, package: str) -> str | None:
    """Return the version of a package that is installed."""
    file = f"{folder}/{package}" if folder == _DISTROLESS else _STATUS
    status = b"\n" + read(root, file, STATUS_BYTES)
    _, found, stanza = status.partition(f"\nPackage: {package}\n".encode())
    lines = stanza.partition(b"\n\n")[0].split(b"\n") if found else []
    return next((line[9:].decode("utf-8", "replace") for line in lines if line.startswith(b"Version: ")), None)


def of_rpm(root: int, path: str) -> Iterator[Owner]:
    """Yield the packages whose headers have a path."""
    for file in _RPM:
        raw = bytearray(read(root, file, DATABASE_BYTES))
        if len(raw) < 100 or len(raw) == DATABASE_BYTES:  # noqa: PLR2004  # of SQLite's header
            continue
        raw[18:20] = b"\x01\x01"  # a rollback journal, not a WAL: nothing beside the file is read
        with (
            suppress(*_DAMAGE),
            closing(sqlite3.connect(":memory:")) as sql,
        ):
            sql.deserialize(bytes(raw))
            sql.execute("PRAGMA trusted_schema = OFF")
            sql.execute("PRAGMA cell_size_check = ON")
            name = path.rpartition("/")[2]
            packages = "SELECT hnum FROM Basenames WHERE key = ? OR key = CAST(? AS BLOB)"
            query = f"SELECT blob FROM Packages WHERE hnum IN ({packages}) LIMIT {PACKAGES}"  # noqa: S608  # constants
            blobs = [blob for (blob,) in sql.execute(query, (name, name)) if isinstance(blob, bytes)]
            yield from (owner for blob in blobs for owner in of_header(blob, path))


def of_header(blob: bytes, path: str) -> Iterator[Owner]:
    """Yield the package of a header if it has a path.  Raises struct.error, LookupError, ValueError for a bad one."""
    entries, _ = struct.unpack_from(">2I", blob)
    start = 8 + entries * _ENTRY.size
    if start > len(blob):
        raise ValueError("more entries than bytes")
    found = {}
    for number in range(entries):
        tag, _, offset, count = _ENTRY.unpack_from(blob, 8 + number * _ENTRY.size)
        if tag in _TAGS:
            found[tag] = (start + offset, count)
    directory, _, base = path.rpartition("/")
    directories = texts(blob, found[_DIRECTORIES])
    at, count = found[_INDEXES]
    for number, name in enumerate(texts(blob, found[_BASENAMES])):
        if name != base or number >= count:
            continue
        (index,) = struct.unpack_from(">I", blob, at + 4 * number)
        if directories[index] == f"{directory}/":
            said = [texts(blob, found[tag])[0] for tag in (_NAME, _VERSION, _RELEASE)]
            digest = texts(blob, found[_DIGESTS])[number] if _DIGESTS in found else ""
            yield Owner(said[0], digest, "rpm", f"{said[1]}-{said[2]}")
            return


def texts(blob: bytes, where: tuple[int, int]) -> list[str]:
    """Return the strings of an entry, each of which ends with a NUL.  Raises ValueError when there are not so many."""
    at, count = where
    if not 0 < count <= len(blob) - at:
        raise ValueError("more strings than bytes")
    parts = blob[at:].split(b"\0", count)
    if len(parts) <= count:
        raise ValueError("a string without an end")
    return [part.decode("utf-8", "replace") for part in parts[:count]]


def names(root: int, folder: str) -> list[str]:
    """Return the names in a directory, NAMES at most."""
    found: list[str] = []
    with suppress(OSError), closing_fd(opened(root, folder, _READ | os.O_DIRECTORY)) as fd, os.scandir(fd) as entries:
        for entry in entries:
            found.append(entry.name)
            if len(found) >= NAMES:
                break
    return found


def read(root: int, path: str, limit: int) -> bytes:
    """Return the beginning of a regular file; nothing when there is none that anybody may read."""
    chunks: list[bytes] = []
    with suppress(OSError), closing_fd(opened(root, path, _READ)) as fd:
        regular = stat.S_ISREG(os.fstat(fd).st_mode)
        while regular and limit > 0 and (chunk := os.read(fd, limit)):
            limit -= len(chunk)
            chunks.append(chunk)
    return b"".join(chunks)


def opened(root: int, path: str, flags: int) -> int:
    """Return a descriptor of what is at `path` with `root` as its root; OSError as from openat2(2)."""
    how = _HOW.pack(flags, 0, _RESOLVE)
    fd = int(_libc.syscall(_OPENAT2, root, os.fsencode(path), how, len(how)))
    if fd < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return fd


class closing_fd:  # noqa: N801  # as contextlib.closing
    """Closes a descriptor at the end of its block."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __enter__(self) -> int:
        """Return it."""
        return self._fd

    def __exit__(self, *_: object) -> None:
        """Close it."""
        os.close(self._fd)


def _merged(root: int) -> tuple[str, ...]:
    """Return the directories below usr to which one at the root is a link, as in a merged /usr."""
    found = []
    for name in _MERGED:
        with suppress(OSError), closing_fd(opened(root, name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)) as fd:
            found += [f"usr/{name}/"] if stat.S_ISLNK(os.fstat(fd).st_mode) else []
    return tuple(found)


if __name__ == "__main__":
    main(sys.argv[1:])
