"""`vedette run` without eBPF: asked for it traces, by itself it traces no whole host."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil

from tests.system.running import ROOT
from tests.system.running import Run
from tests.system.running import wait_for

# A pid namespace of its own, so that the processes of whoever else uses this machine are not traced.
APART = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
REFUSED = ("setpriv", "--bounding-set", "-bpf,-perfmon,-sys_admin")
FINDING = "Impact:Runtime/CryptoMinerExecuted"


def tracer_of(pid: int) -> int:
    """Return the pid of who traces a process, 0 for nobody."""
    return int(Path(f"/proc/{pid}/status").read_text(encoding="utf-8").partition("\nTracerPid:")[2].split()[0])


def test_a_finding_arrives_without_ebpf(tmp_path: Path) -> None:
    run = Run(tmp_path / "state", "--sensor", "userspace", before=APART)
    try:
        assert run.ready().startswith("ready: 11 of ")
        assert ["by inotify, maps, packets, ptrace, sock_diag" in line for line in said(run)] == [True]
        inside = psutil.Process(run.process.pid).children()[0].pid
        enter = ["nsenter", "--target", str(inside), "--pid", "--mount"]
        subprocess.run([*enter, sys.executable, "-m", "agent", "simulate", FINDING], check=True, cwd=ROOT)
        wait_for(lambda: FINDING in {found.type for found in run.findings}, run.said)
    finally:
        psutil.Process(run.process.pid).children()[0].terminate()
        assert run.process.wait(30) == 0
        run.stop()


def test_where_ebpf_is_refused_a_host_is_watched_and_nobody_traced(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as bystander:
        run = Run(tmp_path / "state", before=REFUSED)
        try:
            run.ready()
            assert ["by inotify, maps, packets, polling, sock_diag" in line for line in said(run)] == [True]
            assert 0 == tracer_of(bystander.pid)
        finally:
            status = run.stop()
            bystander.kill()
    assert 0 == status


def said(run: Run) -> list[str]:
    """Return the lines that say that it watches without eBPF, and how."""
    return [line for line in run.said if "watching without eBPF" in line]
