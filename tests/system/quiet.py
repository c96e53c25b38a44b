"""Runs errands under a real agent and tells what it said of them; shared by the system tests and the soak."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.simulate import _container
from agent.simulate._container import running_container
from tests.system import deeds
from tests.system.errands import Errand
from tests.system.running import Found
from tests.system.running import Run

LOW = 2.0
ERRAND_S = 300.0
FILELESS = "DefenseEvasion:Runtime/FilelessExecution"
# Three processes between this one and the work, so that what tells the end of it is no company for the work.
_APART = ("/bin/sh", "-c", '"$@"; exit $?', "sh") * 3
# What the programs of a distribution are given by an engine that lets them be root: what docker grants.
_GRANTED = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "SYS_CHROOT",
    "MKNOD",
    "SYS_PTRACE",
)
CAPABILITIES = tuple(f"CAP_{name}" for name in _GRANTED)


def of_errand(found: Found) -> bool:
    """Answer whether a finding is about a descendant of this test, and not about others who work on this machine."""
    lineage = found.process.get("lineage", ())
    return os.getpid() in {ancestor.get("pid") for ancestor in lineage} | {found.process.get("parentPid")}


def told_of(run: Run, errand: Errand, *, count: int, inside: bool) -> list[Found]:
    """Do one errand; return what was said of it above Low, those aside that are meant."""
    lacking = errand.lacks()
    if lacking is not None:
        pytest.skip(f"needs {lacking}")
    before = len(run.findings)
    word = f"vedette-{uuid.uuid4().hex[:8]}"
    (done_inside if inside else done_on_host)(errand, word, count)
    marker = deeds.from_memory_without_a_path(word)
    run.finding(FILELESS, marker.pid)  # whatever came before was looked at
    said = [found for found in run.findings[before:] if found.process["pid"] != marker.pid and of_errand(found)]
    meant = errand.meant if inside else ()
    loud = [found for found in said if found.document["severity"] > LOW and found.type not in meant]
    where = "in a container" if inside else "on the host"
    by_type = dict(Counter(found.type for found in said))
    print(f"\nquiet: {errand.name} {where}: {len(loud)} findings above Low; all: {by_type}")  # noqa: T201  shown by -s
    for found in loud:
        print(f"quiet: {shown(found)}")  # noqa: T201  as above
    return loud


def shown(found: Found) -> str:
    """Return what a person needs to see who was disturbed for nothing."""
    process = found.process
    lineage = [ancestor.get("executablePath") for ancestor in process.get("lineage", ())][:6]
    more = found.document["service"].get("additionalInfo", {}).get("value", "")
    return f"{found.type}: {found.document['description']} by {process.get('executablePath')} under {lineage} {more}"


def done_on_host(errand: Errand, word: str, count: int) -> None:
    """Run the script in a directory of its own on this host."""
    with scratch_directory() as directory:
        script = directory / "errand"  # a file: text on a command line would be taken for what somebody typed
        script.write_text(errand.script, encoding="utf-8")
        said = subprocess.run(
            [*_APART, "/bin/sh", "-eu", script, word],
            cwd=directory,
            env=environment(count),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=ERRAND_S,
        )
    assert 0 == said.returncode, (errand.name, said.stdout[-1000:], said.stderr[-2000:])


@contextlib.contextmanager
def scratch_directory() -> Iterator[Path]:
    """Give a directory where work is done, not where everybody drops what he brought."""
    home = Path("/var/lib") / f"vedette-quiet-{uuid.uuid4().hex[:8]}"
    home.mkdir(mode=0o755)
    try:
        yield home
    finally:
        shutil.rmtree(home)


def done_inside(errand: Errand, word: str, count: int) -> None:
    """Run the script in a container that has this host's programs as its image."""
    if errand.host_only is not None:
        pytest.skip(errand.host_only)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_container, "LIFETIME_SECONDS", int(ERRAND_S))
        patched.setattr(_container, "TIMEOUT_SECONDS", ERRAND_S)
        _do_inside(errand, word, count)


def _do_inside(errand: Errand, word: str, count: int) -> None:
    with running_container(capabilities=CAPABILITIES) as container:
        home = container.directory / "rootfs/srv/work"
        home.mkdir(mode=0o755)
        (home / "errand").write_text(errand.script, encoding="utf-8")
        said = container.exec(["/bin/sh", "-euc", "cd /srv/work; . ./errand", "sh", word], environment(count))
    assert 0 == said.status, (errand.name, said.stdout[-1000:], said.stderr[-2000:])


def environment(count: int) -> dict[str, str]:
    """Return the variables that the scripts use."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": tempfile.gettempdir(),
        "DEBIAN_FRONTEND": "noninteractive",
        "COUNT": str(count),
        "PORT": str(free_port()),
    }


def free_port() -> int:
    """Return a port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port
