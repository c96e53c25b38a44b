"""What the package databases of the host say of some paths: which package owns each, and the digest it shipped.

dpkg: /var/lib/dpkg/info/*.md5sums, with diversions, and the aliases of a merged
/usr.  rpm: asked in a child, whose database format is its own business.

Blind to: apk and pacman; files for which a package ships no digest, as a few old ones do.
"""

from __future__ import annotations

import subprocess
from collections import defaultdict
from collections.abc import Collection
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

RPM_WAIT_S = 20.0  # a thousand packages are asked in less than one; a locked database is not waited for
_DPKG = Path("var/lib/dpkg")
_RPM_DATABASES = (Path("usr/lib/sysimage/rpm"), Path("var/lib/rpm"))
_RPM_PROGRAM = Path("usr/bin/rpm")
_RPM_FORMAT = r"[%{=NAME}\t%{=VERSION}-%{=RELEASE}\t%{FILEDIGESTS}\t%{FILENAMES}\n]"
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")  # links into /usr since Debian 12 and Fedora 17


class Owner(NamedTuple):
    """A package that owns a path."""

    package: str
    digest: str
    """MD5 or SHA-256 of what it shipped, in hexadecimal; the length tells which."""
    manager: str = "dpkg"
    version: str | None = None
    """Where the manager says it along; else `dpkg_version` knows."""


def stamp(root: Path) -> tuple[int, ...]:
    """Return what changes whenever a package is installed or removed."""
    return tuple(_changed_at_ns(root / database) for database in (_DPKG / "info", *_RPM_DATABASES))


def owners(root: Path, paths: Collection[str]) -> dict[str, tuple[Owner, ...]]:
    """Return who owns those of `paths` that anyone does.  What cannot be read owns nothing."""
    found: defaultdict[str, list[Owner]] = defaultdict(list)
    for path, owner in (*_of_dpkg(root, frozenset(paths)), *_of_rpm(root, paths)):
        found[path].append(owner)
    return {path: tuple(those) for path, those in found.items()}


def _of_dpkg(root: Path, paths: frozenset[str]) -> Iterator[tuple[str, Owner]]:
    """Yield owners by dpkg: one pass over its lists, which leaves nothing behind but what was asked for."""
    moved = _diversions(root)
    merged = tuple(f"{name}/" for name in _MERGED if (root / name).is_symlink())
    for file in sorted((root / _DPKG / "info").glob("*.md5sums")):
        package = file.name.removesuffix(".md5sums").partition(":")[0]
        named = ((digest, f"/usr/{name}" if name.startswith(merged) else f"/{name}") for digest, name in _sums(file))
        claimed = ((digest, there) for digest, path in named for there in {path, moved.get(path, path)})
        yield from ((path, Owner(package, digest)) for digest, path in claimed if path in paths)


def _sums(file: Path) -> Iterator[tuple[str, str]]:
    """Yield digest and path, without the first slash, of each line; one at a time, for some packages have 50,000."""
    with suppress(OSError), file.open(encoding="utf-8", errors="replace") as lines:  # removed since the listing
        for line in lines:
            digest, _, name = line.rstrip("\n").partition("  ")
            yield digest, name.removeprefix("./")


def _diversions(root: Path) -> dict[str, str]:
    """Return where the files of other packages are put, by where they would be: lines in threes, dpkg-divert(1)."""
    try:
        lines = (root / _DPKG / "diversions").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    return dict(zip(lines[0::3], lines[1::3], strict=False))


def _of_rpm(root: Path, paths: Collection[str]) -> Iterator[tuple[str, Owner]]:
    """Yield owners by rpm: digests of every file of every package that owns one of `paths`, but only theirs kept."""
    if not paths or not (root / _RPM_PROGRAM).exists():
        return
    if not any((root / database / "rpmdb.sqlite").exists() for database in _RPM_DATABASES):
        return
    command = [f"/{_RPM_PROGRAM}", "--root", str(root), "-qf", "--queryformat", _RPM_FORMAT, *paths]
    try:
        told = subprocess.run(command, capture_output=True, check=False, timeout=RPM_WAIT_S, env={"LC_ALL": "C"})
    except (OSError, subprocess.TimeoutExpired):
        return
    for line in told.stdout.decode("utf-8", "replace").splitlines():
        package, _, rest = line.partition("\t")
        version, _, rest = rest.partition("\t")
        digest, _, path = rest.partition("\t")
        if digest and path in paths:
            yield path, Owner(package, digest, "rpm", version)


def dpkg_version(root: Path, package: str) -> str | None:
    """Return the version of a package that dpkg has installed, by its status file, read line by line."""
    wanted, here = f"Package: {package}\n", False
    with suppress(OSError), (root / _DPKG / "status").open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            here = line == wanted or (here and line != "\n")
            if here and line.startswith("Version: "):
                return line.removeprefix("Version: ").strip()[:200]
    return None


def _changed_at_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
