"""Where programs of cgroups are attached: at the root of the whole hierarchy, as a container sees it too."""

from __future__ import annotations

import pytest

from agent.sensor.ebpf.attach import cgroup2_mount_point

OWN = "31 30 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw"
HOSTS = "40 30 0:26 /../../.. /host/cgroup ro - cgroup2 cgroup rw"
PART = "41 30 0:26 /kubepods /part rw - cgroup2 cgroup rw"
PART_ABOVE = "42 30 0:26 /../kubepods /above rw - cgroup2 cgroup rw"
FIRST = "32 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu"


@pytest.mark.parametrize(
    ("lines", "where"),
    [
        ((FIRST,), ""),
        ((FIRST, OWN), "/sys/fs/cgroup"),
        ((OWN, HOSTS), "/host/cgroup"),
        ((HOSTS, OWN), "/host/cgroup"),
        ((PART, PART_ABOVE), ""),
    ],
)
def test_the_mount_that_begins_highest_is_taken(lines, where, tmp_path):
    """Else an agent in a container with a cgroup namespace of its own would see connects of that container alone."""
    (tmp_path / "mountinfo").write_text("\n".join(lines) + "\n")

    assert where == cgroup2_mount_point(str(tmp_path / "mountinfo"))
