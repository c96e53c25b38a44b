from __future__ import annotations

import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.enrich import proctext
from tests.unit.enrich.made import stat_text


@pytest.mark.parametrize("raw", [b"", b"1 (x", b"1 x) S 0", b"1 (x) S", b"1 (x) S 1 2 3", stat_text(1, 2)[:40], b") ("])
def test_a_cut_stat_is_nothing(raw: bytes) -> None:
    """Half a line of a process that just died is not taken for a process."""
    assert proctext.stat_of(raw) is None


@pytest.mark.parametrize("comm", [b"sh", b"a b", b")", b"((", b") S 1 1 1", b"x) R 9 (y", b"\n", b"\xff\xfe"])
def test_a_name_cannot_forge_parent_or_start_time(comm: bytes) -> None:
    """A process that calls itself `) S 1` keeps its own parent and start time."""
    expected = proctext.Stat(comm.decode("utf-8", "backslashreplace"), 77, 123456)
    assert expected == proctext.stat_of(stat_text(5, 123456, 77, comm))


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_not(raw: bytes) -> None:
    """No text of /proc stops the agent."""
    proctext.stat_of(raw)
    proctext.ids_of(raw)
    proctext.cgroup_of(raw)
    proctext.namespace_of(raw)
    proctext.strings_of(raw)
    proctext.filesystem_of(raw, 1)
    proctext.variables_of(raw, (b"LD_PRELOAD",))


def test_ids_are_real_and_effective_and_the_innermost_pid() -> None:
    """A set-user-id program and a container's pid are told apart from what they seem."""
    raw = b"Name:\tx\nUid:\t1000\t0\t0\t0\nGid:\t100\t5\t5\t5\nNStgid:\t900\t30\t1\n"
    assert proctext.Ids(1000, 0, 100, 5, 1) == proctext.ids_of(raw)


def test_missing_ids_are_unknown() -> None:
    """Unknown is None, never 0, which would be root."""
    assert proctext.Ids(None, None, None, None, None) == proctext.ids_of(b"Name:\tx\nUid:\nGid:\tx y\n")


V1 = b"9:name=systemd:/s\n8:pids:/docker/x\n4:memory:/m\n"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", None),
        (b"4:memory:/m\n", None),
        (b"garbage\n", None),
        (b"0::/\n", "/"),
        (b"0::/user.slice\n", "/user.slice"),
        pytest.param(V1 + b"0::/\n", "/docker/x", id="hybrid: containers in v1"),
        pytest.param(V1 + b"0::/unified\n", "/unified", id="hybrid: unified in use"),
        pytest.param(V1, "/docker/x", id="v1 alone"),
        pytest.param(b"3:cpu,pids:/both\n", "/both", id="controllers mounted together"),
        pytest.param(b"0::/a:b:c\n", "/a:b:c", id="colons in the path"),
        pytest.param(b"0::/\xff\n", "/\\xff", id="not UTF-8"),
    ],
)
def test_the_cgroup_that_says_most(raw: bytes, expected: str | None) -> None:
    """On every cgroup layout the same path is taken as in the kernel's records."""
    assert expected == proctext.cgroup_of(raw)


@pytest.mark.parametrize(
    ("raw", "expected"), [(b"mnt:[4026531841]", 4026531841), (b"mnt:[]", None), (b"", None), (b"mnt:[x]", None)]
)
def test_namespace_links(raw: bytes, expected: int | None) -> None:
    """A namespace is its number, or unknown."""
    assert expected == proctext.namespace_of(raw)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"", ()),
        (b"sh\0-c\0\0", ("sh", "-c", "")),
        (b"no end", ("no end",)),
        (b"\xff\0", ("\\xff",)),
    ],
)
def test_arguments(raw: bytes, expected: tuple[str, ...]) -> None:
    """Empty arguments are kept, bytes that are not text are escaped."""
    assert expected == proctext.strings_of(raw)


def test_the_last_setting_of_a_variable_counts() -> None:
    """A first LD_PRELOAD, which ld.so forgets, cannot hide the one it loads; a longer name is another variable."""
    raw = b"LD_PRELOAD=/c.so\0LD_PRELOAD=/a=b.so\0MY_LD_PRELOAD=/no\0"
    assert {b"LD_PRELOAD": "/a=b.so"} == proctext.variables_of(raw, (b"LD_PRELOAD",))


def test_ld_so_takes_the_same_setting() -> None:
    """What we show as preloaded is what the dynamic loader of this host looks for."""
    settings = [b"LD_PRELOAD=/gone/first.so", b"LD_PRELOAD=/gone/last.so"]
    execve = (
        "import ctypes; words = lambda *them: (ctypes.c_char_p * (len(them) + 1))(*them, None);"
        f"ctypes.CDLL(None).execve(b'/bin/true', words(b'true'), words(*{settings}))"
    )
    said = subprocess.run([sys.executable, "-c", execve], check=True, capture_output=True, text=True).stderr

    taken = proctext.variables_of(b"\0".join(settings), (b"LD_PRELOAD",))[b"LD_PRELOAD"]

    assert [taken] == re.findall(r"/gone/\w+\.so", said)


MOUNTS = b"""29 1 254:0 / / rw,relatime shared:1 - ext4 /dev/root rw
292 29 0:50 / /mnt rw,relatime - fuse.sshfs a:/b rw
"""


@pytest.mark.parametrize(("mount_id", "expected"), [(2, None), (29, "ext4"), (292, "fuse.sshfs")])
def test_the_file_system_of_a_mount(mount_id: int, expected: str | None) -> None:
    """A mount is found by its whole number."""
    assert expected == proctext.filesystem_of(MOUNTS, mount_id)


MAPS = b"""55d0c0000000-55d0c0001000 r--p 00000000 fd:00 1234                       /usr/bin/a b\\012c
55d0c1000000-55d0c1021000 rw-p 00000000 00:00 0                          [heap]
7f0000000000-7f0000002000 rwxp 00000000 00:00 0
7f0000002000-7f0000003000 r-xp 00000000 00:01 99                         /memfd:x (deleted)
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
"""


@pytest.mark.parametrize(
    ("address", "name"),
    [
        (0x55D0C0000000, "/usr/bin/a b\\012c"),
        (0x55D0C1020FFF, "[heap]"),
        (0x7F0000001FFF, ""),
        (0x7F0000002000, "/memfd:x (deleted)"),
        (0xFFFFFFFFFF600000, "[vsyscall]"),
    ],
)
def test_area_at(address: int, name: str) -> None:
    """The first byte of an area belongs to it, the one behind it does not; names keep their blanks."""
    area = proctext.area_at(MAPS, address)

    assert area is not None
    assert area.name == name


@pytest.mark.parametrize("raw", [b"", b"\n", b"zz", b"1000-zz r\n", b"garbage\n", b"1000-2000 rwxp 0 0 0", b"\xff\n"])
def test_no_area(raw: bytes) -> None:
    """What is not as proc(5) says, and a last line that is cut off, is nothing."""
    assert proctext.area_at(raw, 0x1000) is None


def test_no_area_between() -> None:
    """An address between two areas is in neither."""
    assert proctext.area_at(MAPS, 0x7F0000003000) is None
