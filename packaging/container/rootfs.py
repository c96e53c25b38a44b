"""Make a layer of what mmdebstrap unpacked: only what runs, and a note of each package.

    rootfs.py ROOT [--beside BASE]

ROOT is changed in place.  With --beside what BASE has too, in a layer below, is taken
away.  Packages stay known as in Google's distroless images, one file each in
/var/lib/dpkg/status.d, where scanners look for them, when anything of them is left;
their copyright stays too.
"""

from __future__ import annotations

import filecmp
import shutil
import subprocess
import sys
from pathlib import Path

UNUSED = (
    *("boot", "home", "media", "mnt", "opt", "srv", "root", "dev", "proc", "sys", "run", "tmp", "sbin", "usr/sbin"),
    *("usr/games", "usr/include", "usr/libexec", "usr/local", "usr/src", "var", "etc/apt", "etc/cron.daily"),
    *("etc/dpkg", "etc/kernel", "etc/logrotate.d", "etc/alternatives", "etc/skel", "etc/profile.d"),
    *("usr/lib/apt", "usr/lib/dpkg", "usr/lib/locale", "usr/lib/valgrind", "usr/share/lintian", "usr/share/bug"),
    *("usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/perl5", "usr/share/debconf", "usr/share/gdb"),
    *("usr/share/bash-completion", "usr/share/dpkg", "usr/share/bcc", "usr/share/python3", "usr/share/pixmaps"),
    *(f"usr/lib/python3.11/{name}" for name in ("distutils", "ensurepip", "idlelib", "lib2to3", "pydoc_data", "test")),
    *(f"usr/lib/python3.11/{name}" for name in ("tkinter", "turtledemo", "unittest/test")),
    *("usr/lib/x86_64-linux-gnu/gconv", "usr/lib/aarch64-linux-gnu/gconv"),  # encodings for iconv, which nobody calls
)
"""Nothing of these is read by anything that runs."""
PROGRAMS = {"python3", "python3.11"}
# /mnt: where the loader mounts cgroup2, in a namespace of its own.
DIRECTORIES = {
    "mnt": 0o755,
    "proc": 0o755,
    "sys": 0o755,
    "dev": 0o755,
    "tmp": 0o1777,
    "run/vedette": 0o755,
    "var/lib/vedette": 0o700,
}
MISSING = {
    "etc/passwd": "root:x:0:0:root:/:/nonexistent\nvedette:x:65532:65532:vedette:/:/nonexistent\n",
    "etc/group": "root:x:0:\nvedette:x:65532:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def main(root: Path, beside: Path | None) -> None:
    """Change ROOT."""
    debs = {deb.name.partition("_")[0]: deb for deb in (root / "var/cache/apt/archives").glob("*.deb")}
    status = {name: (_told(deb, "--field"), _files(deb)) for name, deb in debs.items()}
    authorities = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    bundle = "".join(path.read_text() for path in authorities)
    _keep_what_runs(root)
    if beside is None:
        _finish(root, bundle)
    else:
        _only_new(root, beside)
    for name, (text, files) in status.items():
        if name == "ca-certificates" or any((root / file).is_symlink() or (root / file).exists() for file in files):
            _write(root / "var/lib/dpkg/status.d" / name, text)
    _drop_empty(root)
    for name, mode in DIRECTORIES.items() if beside is None else ():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name).chmod(mode)


def _keep_what_runs(root: Path) -> None:
    for name in (*UNUSED, "usr/share/ca-certificates"):
        _remove(root / name)
    unused = [path for path in (root / "usr/bin").iterdir() if path.name not in PROGRAMS]
    unused += [path for path in (root / "usr/share/doc").rglob("*") if not path.is_dir() and path.name != "copyright"]
    for path in (*unused, *root.rglob("*.a")):
        path.unlink()


def _told(deb: Path, what: str) -> str:
    return subprocess.run(("dpkg-deb", what, deb), capture_output=True, text=True, check=True).stdout


def _files(deb: Path) -> list[str]:
    """Return what a package holds below /, but for directories and what only tells about it."""
    names = [line.split(maxsplit=5)[5].partition(" -> ")[0][2:] for line in _told(deb, "--contents").splitlines()]
    return [name for name in names if name and not name.endswith("/") and not name.startswith("usr/share/doc/")]


def _finish(root: Path, bundle: str) -> None:
    """Write what scripts of packages would have, and compile Python's own library."""
    for name, text in MISSING.items():
        _write(root / name, text)
    _write(root / "etc/ssl/certs/ca-certificates.crt", bundle)
    options = ("-q", "-j0", "--invalidation-mode", "unchecked-hash", "-s", root, "-p", "/")
    subprocess.run((sys.executable, "-m", "compileall", *options, root / "usr/lib/python3.11"), check=True)


def _only_new(root: Path, beside: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        other = beside / path.relative_to(root)
        if path.is_symlink():
            if other.is_symlink() and other.readlink() == path.readlink():
                path.unlink()
        elif path.is_file() and other.is_file() and filecmp.cmp(path, other, shallow=False):
            path.unlink()


def _drop_empty(root: Path) -> None:
    for path in sorted(root.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[3]) if len(sys.argv) > 2 else None)  # noqa: PLR2004
