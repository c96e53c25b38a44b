"""What is found of attempts to get out of a container, or deeper into the kernel, that are really made."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agent import simulate
from agent.simulate.privilege_escalation_cgroups_release_agent_modified import hierarchy
from tests.containers import running_container
from tests.system import deeds
from tests.system.deeds import Done
from tests.system.running import Run
from tests.system.test_findings import Deed
from tests.system.test_findings import Fired
from tests.system.test_findings import _done_and_found
from tests.system.test_findings import guardduty
from tests.system.test_findings import run
from tests.system.test_findings import test_a_deed_is_found
from tests.system.test_findings import test_a_finding_is_as_guardduty_has_it
from tests.system.test_findings import test_the_arguments_are_in_the_events
from tests.system.test_findings import test_the_arguments_stay_out_of_the_finding
from tests.system.test_findings import test_the_evidence_says_why
from tests.system.test_findings import test_the_hash_is_that_of_what_ran
from tests.system.test_findings import test_the_lineage_begins_with_the_parent
from tests.system.test_findings import test_the_process_started_with_the_deed
from tests.system.test_findings import words

__all__ = (
    "guardduty",
    "run",
    "test_a_deed_is_found",
    "test_a_finding_is_as_guardduty_has_it",
    "test_the_arguments_are_in_the_events",
    "test_the_arguments_stay_out_of_the_finding",
    "test_the_evidence_says_why",
    "test_the_hash_is_that_of_what_ran",
    "test_the_lineage_begins_with_the_parent",
    "test_the_process_started_with_the_deed",
    "words",
)

USERFAULTFD = "PrivilegeEscalation:Runtime/UserfaultfdUsage"
DOCKER_SOCKET = "PrivilegeEscalation:Runtime/DockerSocketAccessed"
RELEASE_AGENT = "PrivilegeEscalation:Runtime/CGroupsReleaseAgentModified"

RUNC = os.path.realpath(shutil.which("runc") or "runc")
SAY_PID = "import os, sys; print(os.getpid(), flush=True)\n"
LINGER = f"\nimport time; time.sleep({deeds.HASHED_S})"


def by_python_in_container(
    code: str,
    word: str,
    *arguments: str,
    context: Mapping[str, Any],
    binds: Mapping[str, Path] | None = None,
    capabilities: Sequence[str] = (),
) -> Done:
    """Have a python in a container run `code`, with `arguments` and the word behind."""
    with running_container(binds=binds, capabilities=capabilities) as container:
        done = container.exec([deeds.PYTHON, "-I", "-S", "-c", SAY_PID + code + LINGER, *arguments, word])
        deeds.succeeded(done)
    ns_pid = int(done.stdout.split()[0])
    sha256 = deeds.sha256_of(deeds.PYTHON)
    return Done(done.pid, deeds.PYTHON, sha256, ns_pid, RUNC, container_id=container.id, context=dict(context))


# --- userfaultfd ---------------------------------------------------------------------------------------------------

ASK = """
import ctypes, platform
number = {"x86_64": 323, "aarch64": 282}[platform.machine()]
ctypes.CDLL(None).syscall(number, int(sys.argv[1]))
"""


def handled_faults_on_host(_: Path, word: str) -> Done:
    pid = deeds.start(sys.executable, "-c", "import sys\n" + ASK + LINGER, "0", word)
    return deeds.on_host(pid, deeds.OUR_PYTHON, deeds.OUR_PYTHON)


# --- Sockets of engines --------------------------------------------------------------------------------------------

CONNECT = "import socket; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
CONNECT_BY_LINK = "os.symlink('/run/there/docker.sock', '/tmp/harmless'); sys.argv[1] = '/tmp/harmless'\n" + CONNECT
CONNECT_BY_PROC = "sys.argv[1] = f'/proc/1/root{sys.argv[1]}'\n" + CONNECT
CONNECT_IN_VAIN = "import contextlib\nwith contextlib.suppress(PermissionError):\n " + CONNECT


@contextlib.contextmanager
def engine(directory: Path, name: str) -> Iterator[Path]:
    """Listen at a socket of this name, below a directory of our own, as an engine would; nobody is served."""
    path = directory / name
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path


def spoke_to_engine(code: str, inside: str, *, name: str = "docker.sock") -> Deed:
    """Return the deed of connecting, by `code` and the path `inside`, to an engine's socket that is mounted there."""

    def deed(directory: Path, word: str) -> Done:
        with engine(directory, name) as path:
            context = {"socketPath": str(path)}
            return by_python_in_container(code, word, inside, binds={inside: path}, context=context)

    return deed


def spoke_to_engine_in_a_directory(directory: Path, word: str) -> Done:
    """The directory of the socket is mounted, and a link leads to it."""
    with engine(directory, "docker.sock") as path:
        binds, context = {"/run/there": directory}, {"socketPath": str(path)}
        return by_python_in_container(CONNECT_BY_LINK, word, "", binds=binds, context=context)


def was_refused_by_engine(directory: Path, word: str) -> Done:
    """Nobody may connect who has not the right to go by permissions, as a container has not."""
    inside = "/run/docker.sock"
    with engine(directory, "docker.sock") as path:
        path.chmod(0)
        binds, context = {inside: path}, {"socketPath": inside}
        return by_python_in_container(CONNECT_IN_VAIN, word, inside, binds=binds, context=context)


# --- Release agents ------------------------------------------------------------------------------------------------

OPEN = "os.close(os.open(sys.argv[1], os.O_WRONLY))"
OPEN_BY_LINK = "os.symlink(sys.argv[1], '/tmp/harmless'); sys.argv[1] = '/tmp/harmless'\n" + OPEN
BIND = """
import ctypes
open("/tmp/harmless", "w").close()
assert 0 == ctypes.CDLL(None).mount(sys.argv[1].encode(), b"/tmp/harmless", b"", 4096, None)
sys.argv[1] = "/tmp/harmless"
"""
MAKE_HIERARCHY = """
import ctypes
assert 0 == ctypes.CDLL(None).mount(b"none", b"/mnt", b"cgroup", 0, f"none,name={sys.argv[2]}".encode())
"""


def modified_release_agent(code: str, shown: str = "/mnt/release_agent") -> Deed:
    """Return the deed of opening, by `code`, the release agent of a hierarchy that is mounted at /mnt."""

    def deed(_: Path, word: str) -> Done:
        with hierarchy() as root:
            return by_python_in_container(
                code,
                word,
                "/mnt/release_agent",
                binds={"/mnt": root},
                capabilities=["CAP_SYS_ADMIN"],
                context={"releaseAgentPath": shown},
            )

    return deed


def made_hierarchy_of_its_own(_: Path, word: str) -> Done:
    return by_python_in_container(
        MAKE_HIERARCHY + OPEN,
        word,
        "/mnt/release_agent",
        capabilities=["CAP_SYS_ADMIN"],
        context={"releaseAgentPath": "/mnt/release_agent"},
    )


FIRING: dict[str, tuple[str, Deed]] = {
    "userfaultfd on the host": (USERFAULTFD, handled_faults_on_host),
    "userfaultfd in a container": (
        USERFAULTFD,
        lambda _, word: by_python_in_container(ASK, word, "1", context={"flags": ["UFFD_USER_MODE_ONLY"]}),
    ),
    "docker.sock": (DOCKER_SOCKET, spoke_to_engine(CONNECT, "/run/docker.sock")),
    "docker.sock by another name": (DOCKER_SOCKET, spoke_to_engine(CONNECT, "/tmp/harmless")),
    "docker.sock by a link": (DOCKER_SOCKET, spoke_to_engine_in_a_directory),
    "docker.sock by another process's root": (DOCKER_SOCKET, spoke_to_engine(CONNECT_BY_PROC, "/run/docker.sock")),
    "docker.sock without permission": (DOCKER_SOCKET, was_refused_by_engine),
    "containerd.sock": (DOCKER_SOCKET, spoke_to_engine(CONNECT, "/run/x", name="containerd.sock")),
    "release_agent": (RELEASE_AGENT, modified_release_agent(OPEN)),
    "release_agent by a link": (RELEASE_AGENT, modified_release_agent(OPEN_BY_LINK)),
    "release_agent by another name": (RELEASE_AGENT, modified_release_agent(BIND + OPEN, "/tmp/harmless")),
    "release_agent of its own hierarchy": (RELEASE_AGENT, made_hierarchy_of_its_own),
}


@pytest.fixture(scope="module", params=FIRING)
def fired(
    run: Run, words: dict[int, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Fired:
    """A deed that was done and found."""
    type_, deed = FIRING[request.param]
    one = _done_and_found(run, type_, deed, tmp_path_factory)
    words[one.done.pid] = one.word
    return one


TRIGGERS = [trigger for trigger in simulate.load() if trigger.finding in {type_ for type_, _ in FIRING.values()}]


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.finding)
def test_what_simulate_does_is_found(run: Run, trigger: simulate.Trigger) -> None:
    """The deed that an operator can try brings its finding, about the process that it names."""
    deed = trigger.run()

    found = run.finding(trigger.finding, deed.pid)
    assert deed.container_id == found.document["resource"].get("containerDetails", {}).get("id")


def test_every_type_can_be_tried() -> None:
    """There is a trigger for each."""
    assert {type_ for type_, _ in FIRING.values()} == {trigger.finding for trigger in TRIGGERS}
