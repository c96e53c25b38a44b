"""A sidecar without eBPF in a task as Fargate has it: what it sees, and that it harms nobody when it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from typing import NamedTuple

import pytest

from agent import findings
from agent.commands import _sources
from tests.containers import needs_runc
from tests.system.collecting import Collector
from tests.system.collecting import collector
from tests.system.fargate import FargateTask
from tests.system.fargate import fargate_task
from tests.system.fargate import vedette_line
from tests.system.running import ROOT
from tests.system.running import vedette
from tests.system.running import wait_for

pytestmark = needs_runc

MANY = 5_000
SIDECAR_BYTES = 52 << 20  # of memory of its own, agent and children: about 48 MiB after all of the above, 46 at rest
SENSOR_BYTES = 16 << 20  # the children alone: 12 MB as measured
TRIES = 3  # who holds a socket for less than a millisecond is told without its process
SETTLED_S = 5.0
IN_VAIN = frozenset(
    {
        # What simulate does for these needs a network, a mount or a bit that a task of Fargate does not give.
        "Backdoor:Runtime/C&CActivity.B",
        "CryptoCurrency:Runtime/BitcoinTool.B",
        "Persistence:Runtime/SuspiciousCommand",
        "PrivilegeEscalation:Runtime/SuspiciousCommand",
        "PrivilegeEscalation:Runtime/ElevationToRoot",
        "PrivilegeEscalation:Runtime/RuncContainerEscape",
        "Execution:Runtime/NewBinaryExecuted",  # in a container of its own; here by a copy, below
        "Execution:Runtime/NewLibraryLoaded",
        "Trojan:Runtime/BlackholeTraffic",
        "Trojan:Runtime/DropPoint",
        "UnauthorizedAccess:Runtime/TorClient",
        "UnauthorizedAccess:Runtime/TorRelay",
        # What simulate does for these is what the source does not see of them.
        "Execution:Runtime/ReverseShell",
        "Execution:Runtime/SuspiciousShellCreated",
        "Persistence:Runtime/SensitiveFileModified",  # here by who has the file open for longer, below
        "PrivilegeEscalation:Runtime/SensitiveFileModified",
        "DefenseEvasion:Runtime/SensitiveFileModified",
    }
)

SENSITIVE = {name for name in IN_VAIN if name.endswith("SensitiveFileModified")}


class Watched(NamedTuple):
    """A task with a sidecar, and the collector that it reports to."""

    task: FargateTask
    collector: Collector

    def rows(self, what: str, *options: str) -> list[dict[str, Any]]:
        """Return what the collector has."""
        told = vedette(what, "--json", "--state-dir", str(self.collector.state_dir), *options)
        return [json.loads(line) for line in told.stdout.splitlines()]

    def said(self) -> str:
        """Return what the sidecar said."""
        return (self.task.sidecar.directory / "run.log").read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A task whose sidecar watches, and the collector outside."""
    folder = tmp_path_factory.mktemp("fargate")
    shared = folder / "shared"
    shared.mkdir()
    (shared / "agent.toml").write_text(
        'state_dir = "/run/state"\nlock_file = "/run/agent.lock"\n[collector]\naddress = "unix:///mnt/c.sock"\n'
    )
    line = vedette_line("agent", "--config", "/mnt/agent.toml")
    with (
        collector(folder, listen=f"unix://{shared}/c.sock") as made,
        fargate_task(line, binds={"/mnt": shared}) as task,
    ):
        found = Watched(task, made)
        wait_for(lambda: "probes attached" in found.said(), "the sidecar does not watch")
        yield found


def test_it_says_in_one_line_that_it_watches_without_ebpf(watched: Watched) -> None:
    lines = [line for line in watched.said().splitlines() if "watching without eBPF" in line]
    assert 1 == len(lines)
    assert "by inotify, maps, packets, ptrace, sock_diag" in lines[0]
    assert "bpf(2) (Operation not permitted)" in lines[0]


def test_five_thousand_short_lived_programs_are_all_seen(watched: Watched) -> None:
    # Who comes from outside is met when it is looked for, 20 ms later; whom it starts then is seen at once.
    assert (
        0 == watched.task.run(f"sleep 0.3; i=0; while [ $i -lt {MANY} ]; do /bin/true $i; i=$((i+1)); done").returncode
    )

    def seen() -> set[str]:
        rows = watched.rows("events", "--type", "process_exec", "--limit", "50000")
        words = [row["process_exec"]["args"] for row in rows]
        return {args[1] for args in words if args[:1] == ["/bin/true"] and len(args) == 2}

    wait_for(lambda: str(MANY - 1) in seen(), "the last one was not seen")
    assert {str(number) for number in range(MANY)} == seen()


def test_a_connection_of_two_milliseconds_is_seen_with_its_process(watched: Watched) -> None:
    code = (
        "import os, socket, time; s = socket.create_server(('127.0.0.1', 4253)); "
        "c = socket.create_connection(('127.0.0.1', 4253)); time.sleep(0.002); c.close(); print(os.getpid())"
    )
    pid = int(watched.task.run(f'{sys.executable} -c "{code}"').stdout)

    def told() -> list[tuple[int, str]]:
        rows = watched.rows("events", "--type", "net_connect", "--limit", "5000")
        made = [row for row in rows if row["net_connect"]["remote_port"] == 4253]
        return [(row["actor"]["tgid"], row["actor"].get("container_id")) for row in made]

    wait_for(told, "no connection")
    assert [(pid, watched.task.workload.id)] == told()


def test_what_the_source_claims_is_found_in_the_workload(watched: Watched) -> None:
    claimed = {one.name for one in findings.load() if _sources.without_ebpf(one).given != _sources.NOT} - IN_VAIN
    watched.task.run("cp /bin/true /tmp/new-binary && /tmp/new-binary")
    load = "import ctypes, time; ctypes.CDLL('/tmp/libnew.so'); time.sleep(2)"
    watched.task.run(f'cp /usr/lib/*/libz.so.1 /tmp/libnew.so && {sys.executable} -c "{load}"')
    shell = (
        "import socket, subprocess; s = socket.create_server(('127.0.0.1', 4255)); "
        "c = socket.create_connection(('127.0.0.1', 4255)); "
        "subprocess.run(['/bin/sh', '-c', 'sleep 0.5'], stdin=c, stdout=c, stderr=c)"
    )
    watched.task.run(f'{sys.executable} -c "{shell}"')
    written = ("/etc/cron.d/odd", "/etc/sudoers.d/odd", "/etc/hosts.deny")
    held = "; ".join(f"mkdir -p {os.path.dirname(path)}; {{ echo; sleep 0.3; }} >>{path}" for path in written)
    watched.task.run(f"cp /bin/sh /tmp/odd && /tmp/odd -c '{held}'")
    done_by_hand = {"NewBinaryExecuted", "NewLibraryLoaded", "ReverseShell"}
    wanted = claimed | {f"Execution:Runtime/{name}" for name in done_by_hand} | SENSITIVE

    def missing() -> set[str]:
        found = [row for row in watched.rows("findings") if row["resource"]["resourceType"] == "Container"]
        return wanted - {row["type"] for row in found}

    for _ in range(TRIES):
        for name in sorted(missing() & claimed):
            done = watched.task.run(f"cd {ROOT} && {sys.executable} -m agent simulate '{name}'")
            assert 0 == done.returncode, (name, done.stderr)
        deadline_s = time.monotonic() + SETTLED_S
        while missing() and time.monotonic() < deadline_s:
            time.sleep(0.2)
    assert set() == missing()


def test_a_deed_that_seccomp_kills_for_is_said_to_be_refused(watched: Watched) -> None:
    line = f"cd {ROOT} && {sys.executable} -m agent simulate DefenseEvasion:Runtime/KernelModuleLoaded"
    done = watched.task.run(line)
    assert done.returncode > 0, done
    assert "refused here: a seccomp profile" in done.stderr


def test_a_file_that_is_closed_at_once_is_told_with_its_container_if_not_with_its_process(watched: Watched) -> None:
    watched.task.run("echo '# nothing' >>/etc/crontab")

    def told() -> list[str | None]:
        rows = watched.rows("events", "--type", "file_open", "--limit", "5000")
        opened = [row for row in rows if row["file_open"]["path"] == "/etc/crontab"]
        return [row.get("container_id") or row["actor"].get("container_id") for row in opened]

    wait_for(told, "no file")
    assert {watched.task.workload.id} == set(told())


def test_it_is_small(watched: Watched) -> None:
    listed = subprocess.run(["runc", "ps", watched.task.sidecar.id], capture_output=True, text=True, check=True).stdout
    pids = [int(line.split()[1]) for line in listed.splitlines()[1:]]
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii") for pid in pids]
    anonymous = [int(text.partition("\nPss_Anon:")[2].split()[0]) << 10 for text in rollups]
    assert 4 == len(pids)
    assert sum(anonymous[1:]) < SENSOR_BYTES
    assert sum(anonymous) < SIDECAR_BYTES, anonymous


def test_the_workload_goes_on_when_the_sidecar_is_killed(watched: Watched) -> None:
    watched.task.run("(while :; do /bin/true; echo x >>/tmp/going; done) >/dev/null 2>&1 </dev/null &")
    going = watched.task.workload.directory / "rootfs/tmp/going"
    wait_for(lambda: going.exists() and going.stat().st_size > 20)
    os.kill(watched.task.sidecar.pid, signal.SIGKILL)
    time.sleep(0.1)
    size = going.stat().st_size
    wait_for(lambda: going.stat().st_size > size + 20)
