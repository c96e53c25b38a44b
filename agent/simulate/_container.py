"""A real container to do things in: runc, on an overlay of this host's root.

The container reads the host's files and writes into a tmpfs of its own, so that
nothing it does reaches the host; it has its own pid, network, mount, ipc and uts
namespaces and no network but loopback.  It ends with the `with` block, and its
first process after a minute even if we are killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import program
from agent.simulate._base import scratch

LIFETIME_SECONDS = 60  # of the first process, should nobody end it: a trigger takes ten seconds at most
WRITABLE_LAYER = "64m"  # a copied library is 2 MB, what a compiler writes 20 MB


@dataclass(frozen=True, kw_only=True)
class Executed:
    """A command that ran in a container and ended."""

    pid: int
    """As the host counts."""
    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True, kw_only=True)
class RunningContainer:
    """A container, while its `with` block lasts."""

    id: str
    pid: int
    """Of its first process, as the host counts."""
    directory: Path
    """Of the bundle, on the host."""

    def exec(self, argv: Sequence[str], environment: Mapping[str, str] | None = None) -> Executed:
        """Run a command inside, wait for its end, and return what it said.  Raises `HostUnsupported` on a hang."""
        pid_file = self.directory / f"pid-{secrets.token_hex(4)}"
        options = [f"--env={name}={value}" for name, value in (environment or {}).items()]
        done = _run("runc", "exec", f"--pid-file={pid_file}", *options, self.id, *argv)
        if not pid_file.exists():
            raise HostUnsupported(f"runc could not start {argv[0]} in a container: {done.stderr.strip()}")
        return Executed(
            pid=int(pid_file.read_text(encoding="ascii")),
            status=done.returncode,
            stdout=done.stdout,
            stderr=done.stderr,
        )

    def python(self, code: str, *arguments: str) -> Executed:
        """Run Python inside, by the interpreter that runs this.  Raises `HostUnsupported` where it is not there."""
        interpreter = os.path.realpath(sys.executable)
        if not (self.directory / "rootfs" / interpreter.lstrip("/")).exists():
            raise HostUnsupported(f"{interpreter} is not on the root file system, which is all that a container sees")
        return self.exec([interpreter, "-I", "-S", "-c", code, *arguments])


@contextlib.contextmanager
def running_container(
    name: str | None = None, *, binds: Mapping[str, Path] | None = None, capabilities: Sequence[str] = ()
) -> Iterator[RunningContainer]:
    """Start a container and end it.  Raises `HostUnsupported` where that cannot be done.

    `binds` says what of this host is seen in it, writable, and where; `capabilities` what its programs may do beyond
    what runc proposes, such as `CAP_SYS_ADMIN`.
    """
    program("runc", "runc")
    if os.geteuid() != 0:
        raise HostUnsupported("a container needs root: run this with sudo")
    container_id = name or f"vedette-{secrets.token_hex(8)}"
    with scratch() as directory, _mounted(directory):
        _write_bundle(directory, binds or {}, capabilities)
        with _started(container_id, directory) as container:
            yield container


@contextlib.contextmanager
def _mounted(directory: Path) -> Iterator[None]:
    """Mount a tmpfs at `directory`, and in it an overlay of / at `rootfs`."""
    rootfs = directory / "rootfs"
    with contextlib.ExitStack() as mounts:
        mounts.callback(_unmount, directory)  # first: an interrupt may come just after the mount
        _mount("-t", "tmpfs", "-o", f"size={WRITABLE_LAYER},mode=700", "tmpfs", str(directory))
        for path in (rootfs, directory / "upper", directory / "work"):
            path.mkdir(mode=0o755)
        layers = f"lowerdir=/,upperdir={directory / 'upper'},workdir={directory / 'work'}"
        mounts.callback(_unmount, rootfs)
        _mount("-t", "overlay", "-o", layers, "overlay", str(rootfs))
        yield


@contextlib.contextmanager
def mounted(*arguments: str) -> Iterator[None]:
    """Mount as mount(8) is told, the mount point last, and unmount.  Raises `HostUnsupported` where that fails."""
    program("mount", "mount")
    with contextlib.ExitStack() as mounts:
        mounts.callback(_unmount, Path(arguments[-1]))  # first: an interrupt may come just after the mount
        _mount(*arguments)
        yield


def _mount(*arguments: str) -> None:
    done = _run("mount", *arguments)
    if done.returncode != 0:
        raise HostUnsupported(f"no file system for a container: {done.stderr.strip()}")


def _unmount(path: Path) -> None:
    """Unmount now, or as soon as the last process in it is gone."""
    _run("umount", "--lazy", str(path))


def _write_bundle(directory: Path, binds: Mapping[str, Path] | None = None, capabilities: Sequence[str] = ()) -> None:
    """Write the config.json that runc itself proposes, with a program that waits in it."""
    specified = _run("runc", "spec", f"--bundle={directory}")
    if specified.returncode != 0:
        raise HostUnsupported(f"runc spec failed: {specified.stderr.strip()}")
    file = directory / "config.json"
    config = bundle(json.loads(file.read_text(encoding="utf-8")), binds or {}, capabilities)
    file.write_text(json.dumps(config), encoding="utf-8")


def bundle(
    proposed: dict[str, Any], binds: Mapping[str, Path] | None = None, capabilities: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the proposed configuration with no terminal, a writable root, and a first process that waits."""
    process = {**proposed["process"], "terminal": False, "args": ["sleep", str(LIFETIME_SECONDS)]}
    changed = {**proposed, "process": process, "root": {"path": "rootfs", "readonly": False}}
    if capabilities:
        kinds = proposed["process"]["capabilities"].items()
        process["capabilities"] = {kind: sorted({*held, *capabilities}) for kind, held in kinds}
    if binds:
        mounts = [
            {"destination": inside, "source": str(outside), "type": "bind", "options": ["bind"]}
            for inside, outside in binds.items()
        ]
        changed["mounts"] = [*proposed["mounts"], *mounts]
    return changed


@contextlib.contextmanager
def _started(container_id: str, directory: Path) -> Iterator[RunningContainer]:
    """Start the container of a bundle, and end it.

    runc stays its parent, not whoever adopts orphans on this host: it collects the first process, and takes the
    container away even if we cannot.
    """
    log = directory / "run.log"
    with log.open("wb") as output:
        runc = subprocess.Popen(
            ["runc", "run", f"--bundle={directory}", f"--pid-file={directory / 'pid'}", container_id],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # an interrupt of ours is not runc's
        )
    try:
        yield RunningContainer(id=container_id, pid=_first_pid(runc, directory), directory=directory)
    finally:
        _run("runc", "delete", "--force", container_id)
        with contextlib.suppress(subprocess.TimeoutExpired):
            runc.wait(TIMEOUT_SECONDS)  # it collects the first process now; killed, it could not
        runc.kill()
        runc.wait()


def _first_pid(runc: subprocess.Popen[bytes], directory: Path) -> int:
    """Wait until runc says that the container runs, and return the pid of its first process."""
    pid_file = directory / "pid"
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not pid_file.exists():
        if runc.poll() is not None or time.monotonic() > deadline:
            said = (directory / "run.log").read_text(encoding="utf-8", errors="replace")
            raise HostUnsupported(f"runc could not start a container: {said.strip()}")
        time.sleep(0.002)
    return int(pid_file.read_text(encoding="ascii"))


def _run(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run a program without input, and return its status and what it said."""
    try:
        return subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except FileNotFoundError as error:
        raise HostUnsupported(f"{argv[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise HostUnsupported(f"{argv[0]} {argv[1]} did not end within {TIMEOUT_SECONDS:.0f} s") from error
