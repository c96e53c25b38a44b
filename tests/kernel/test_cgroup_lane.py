"""The lane of net_connect and dns_query: programs at the root of cgroup2, held by links."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.probes import dns_query
from agent.probes import net_connect
from agent.probes import process_exit
from agent.probes.declaration import Probe
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options

ROOT = Path(__file__).resolve().parents[2]
OPEN_TIMEOUT_S = 60.0
SETTLE_S = 5.0  # the kernel frees what its last descriptor held a little later

PROBES = (dns_query.PROBE, net_connect.PROBE)

# Open a source in a process of its own, and tell what became of its probes.
OPEN = """
import json, sys
from agent.probes import dns_query, net_connect, process_exit
from agent.sensor.ebpf.source import EbpfSource, Options
source = EbpfSource(Options(probes=(dns_query.PROBE, net_connect.PROBE, process_exit.PROBE)))
print(json.dumps({status.name: status.reason for status in source.open()}))
source.close()
"""
NO_CGROUP2 = "umount -a -t cgroup2; ! grep -q ' - cgroup2 ' /proc/self/mountinfo || exit 1"


def held_ids() -> set[int]:
    """Return the ids of the BPF programs that this process holds."""
    ids: set[int] = set()
    for entry in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):
            ids |= {int(number) for number in re.findall(r"^prog_id:\s*(\d+)", entry.read_text(), re.MULTILINE)}
    return ids


def attached_ids() -> set[int]:
    """Return the ids of the programs at the root of cgroup2, as bpftool sees them."""
    look = "mount -t cgroup2 none /mnt && bpftool --json cgroup show /mnt"
    shown = subprocess.run(["/usr/bin/unshare", "--mount", "/bin/sh", "-c", look], check=True, capture_output=True)
    return {program["id"] for program in json.loads(shown.stdout.strip() or b"[]")}


def eventually(holds: Callable[[], bool]) -> bool:
    """Return whether something comes true soon."""
    deadline = time.monotonic() + SETTLE_S
    while not (true := holds()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return true


def with_target(probe: Probe, target: str) -> Probe:
    """Return `probe` with its last hook somewhere else."""
    lane = probe.lanes[0]
    hooks = (*lane.hooks[:-1], dataclasses.replace(lane.hooks[-1], target=target))
    return dataclasses.replace(probe, lanes=(dataclasses.replace(lane, hooks=hooks),))


def opened_under(setup: str, *wrapper: str) -> dict[str, str | None]:
    """Open the probes in a mount namespace after `setup`, inside `wrapper`; return why each is not attached."""
    command = f'{setup}; exec "$@"'
    child = subprocess.run(
        ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", command, "sh", *wrapper, sys.executable, "-c", OPEN],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        timeout=OPEN_TIMEOUT_S,
    )
    answer: dict[str, Any] = json.loads(child.stdout)
    return answer


def test_programs_go_with_the_source() -> None:
    """While the source is open its programs are at the root of cgroup2; when it is closed none of them is."""
    source = EbpfSource(Options(probes=PROBES))
    before = held_ids()
    try:
        source.open()
        ours = held_ids() - before
        attached = attached_ids()
    finally:
        source.close()

    assert 1 + 4 == len(ours & attached)
    assert eventually(lambda: not ours & attached_ids())


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_a_hook_that_does_not_exist_costs_its_probe_alone(probe: Probe) -> None:
    """A probe that cannot be hooked up says why and keeps none of its hooks; another is attached."""
    source = EbpfSource(Options(probes=(with_target(probe, "nowhere"), process_exit.PROBE)))
    before = held_ids()
    try:
        status = {probe.name: probe for probe in source.open()}
        ours = held_ids() - before
        attached = attached_ids()
    finally:
        source.close()

    assert (False, None) == (status[probe.name].attached, status[probe.name].lane)
    assert "nowhere is no cgroup hook" in str(status[probe.name].reason)
    assert status["process_exit"].attached
    assert set() == ours & attached


def test_cgroup2_need_not_be_mounted() -> None:
    """Where nobody mounted cgroup2 the loader does so for itself."""
    reasons = opened_under(NO_CGROUP2)

    assert {"dns_query": None, "net_connect": None, "process_exit": None} == reasons


def test_without_cgroup2_the_rest_goes_on() -> None:
    """Where cgroup2 cannot be mounted the probes that need it say so, and the others are attached."""
    reasons = opened_under(NO_CGROUP2, "/usr/bin/setpriv", "--bounding-set=-sys_admin")

    why = "cgroup: cgroup2 is not mounted and cannot be"
    assert {"dns_query": why, "net_connect": why, "process_exit": None} == reasons
