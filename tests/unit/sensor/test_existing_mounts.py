"""What /proc says of mounts and cgroups, as the records that the child makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.counters import Counters
from agent.decode import Decoder
from agent.model import Mount
from agent.probes import mount
from agent.sensor.existing import mounts
from agent.sensor.existing.cgroups import Cgroups
from agent.sensor.existing.counts import Counts
from agent.sensor.existing.mountinfo import Mounted
from agent.sensor.existing.mountinfo import mounts as parsed
from agent.sensor.existing.processes import Process
from agent.sensor.existing.processes import Processes

ROOT_LINE = b"27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw,discard\n"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(
            ROOT_LINE, Mounted(b"254:0", b"/", b"/", 1 << 21, b"ext4", b"/dev/vda", b"rw,discard"), id="optional fields"
        ),
        pytest.param(
            b"1 2 0:3 /sub /mnt ro,nosuid,nodev,noexec,nosymfollow,noatime,nodiratime - tmpfs none rw\n",
            Mounted(b"0:3", b"/sub", b"/mnt", 0xD0F, b"tmpfs", b"none", b"rw"),
            id="no optional field, every flag",
        ),
        pytest.param(
            rb"1 2 0:3 / /a\040b\134\011\012\043 rw - fuse.x \040- rw" + b"\n",
            Mounted(b"0:3", b"/", b"/a b\\\t\n#", 0, b"fuse.x", b" -", b"rw"),
            id="escapes",
        ),
        pytest.param(
            b"1 2 0:3 / /\xff rw - a  rw\n",
            Mounted(b"0:3", b"/", b"/\xff", 0, b"a", b"", b"rw"),
            id="an empty source, and not UTF-8",
        ),
        pytest.param(b"1 2 0:3 / /a rw - tmpfs none\n", None, id="too few fields behind"),
        pytest.param(b"1 2 0:3 / /a - tmpfs none rw\n", None, id="too few fields before"),
        pytest.param(ROOT_LINE[:-1], None, id="a line without its end"),
        pytest.param(b"\n", None, id="an empty line"),
    ],
)
def test_a_line_is_a_mount(line: bytes, expected: Mounted | None) -> None:
    """A name may hold any byte; a line that was cut is left out, and nothing else with it."""
    assert [expected] if expected else [] == list(parsed(line))
    assert ROOT_LINE in (line, ROOT_LINE)
    assert next(parsed(ROOT_LINE)) == list(parsed(line + b"\n" + ROOT_LINE))[-1]


class Made(Processes):
    """Processes of a made proc file system; who is in `gone` is no more when its header is asked for."""

    def __init__(self, root: Path, *, gone: frozenset[int] = frozenset(), **mountinfos: bytes) -> None:
        self._root = root
        self._gone = gone
        self._cgroups = Cgroups(Path("/proc"))
        self._headers = {}
        self.oldest_first = []
        for name, text in mountinfos.items():
            tgid, mnt_ns = map(int, name[1:].split("_"))
            (root / str(tgid)).mkdir()
            (root / str(tgid) / "mountinfo").write_bytes(text)
            self.oldest_first.append(Process(started_ticks=tgid, tgid=tgid, mnt_ns=mnt_ns, net_ns=1))

    def _facts(self, process: Process) -> dict[str, int] | None:
        return None if process.tgid in self._gone else {"tgid": process.tgid, "mnt_ns": process.mnt_ns}


def told(made: Processes) -> tuple[list[Mount], Counts]:
    """Return the events that the records of the child become, and its numbers."""
    counts = Counts()
    decode = Decoder((mount.PROBE,), Counters(), 0)
    events = [decode(record) for record in mounts.records(made, counts)]
    assert all(isinstance(event, Mount) for event in events)
    return [event for event in events if isinstance(event, Mount)], counts


def line(place: bytes, source: bytes = b"none", device: bytes = b"0:9") -> bytes:
    return b"9 1 %s / %s ro - tmpfs %s rw\n" % (device, place, source)


def test_a_copy_is_told_once(tmp_path: Path) -> None:
    """What a namespace has from the one that it was copied from says nothing new; the oldest process has it."""
    events, counts = told(
        Made(
            tmp_path,
            p1_10=ROOT_LINE,
            p2_10=line(b"/never"),
            p3_11=ROOT_LINE + line(b"/own") + line(b"/", device=b"8:1"),
        )
    )

    assert [(1, "/"), (3, "/own"), (3, "/")] == [(event.tgid, event.target) for event in events]
    assert (3, 11, True) == (events[1].tgid, events[1].mnt_ns, events[1].existing)
    assert ("mount", "none", "tmpfs", 1) == (
        events[1].operation,
        events[1].source,
        events[1].filesystem,
        events[1].flags_raw,
    )
    assert (1, 0) == (counts.repeated, counts.failed)


@pytest.mark.parametrize(("extra", "flags"), [(0, ()), (1, ("truncated",))])
def test_a_long_name_is_cut(tmp_path: Path, extra: int, flags: tuple[str, ...]) -> None:
    """A name longer than a record holds says that it was cut, and only then."""
    [event], _ = told(Made(tmp_path, p1_1=line(b"/" + b"x" * (510 + extra), b"y" * 255)))

    assert ("/" + "x" * 510, "y" * 255, flags) == (event.target, event.source, event.flags)


def test_what_is_over_a_limit_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many mounts and namespaces somebody makes, the start is bounded, and what is left out is a number."""
    monkeypatch.setattr(mounts, "MOUNTS", 2)
    monkeypatch.setattr(mounts, "NAMESPACES", 2)
    events, counts = told(
        Made(tmp_path, p1_1=line(b"/a"), p2_2=line(b"/b") + line(b"/c") + line(b"/a"), p3_3=line(b"/d"))
    )

    assert ["/a", "/b"] == [event.target for event in events]
    assert (1, 2) == (counts.repeated, counts.failed)


def test_who_is_gone_meanwhile_is_counted(tmp_path: Path) -> None:
    """A process that ends while it is looked at takes nobody else's mounts with it."""
    events, counts = told(Made(tmp_path, gone=frozenset({1}), p1_1=line(b"/a"), p2_2=line(b"/b")))

    assert (["/b"], 1) == ([event.target for event in events], counts.failed)


def test_a_namespace_is_seen_through_whoever_is_left(tmp_path: Path) -> None:
    """That the oldest process of a namespace ends just then hides nothing."""
    events, counts = told(Made(tmp_path, p1_1=b"", p2_1=line(b"/a"), p3_2=b""))

    assert ([(2, "/a")], 0) == ([(event.tgid, event.target) for event in events], counts.failed)


@pytest.fixture
def hierarchies(tmp_path: Path) -> Cgroups:
    """A host with both: the unified hierarchy and that of the pids controller."""
    (tmp_path / "self").mkdir()
    for place in ("unified/own", "pids/own"):
        (tmp_path / place).mkdir(parents=True)
    (tmp_path / "self" / "mountinfo").write_text(
        f"1 1 0:1 / {tmp_path}/unified rw - cgroup2 cgroup2 rw\n"
        f"1 1 0:1 /part /nowhere rw - cgroup2 cgroup2 rw\n"
        f"1 1 0:2 / {tmp_path}/memory rw - cgroup cgroup rw,memory\n"
        f"1 1 0:3 / {tmp_path}/pids rw - cgroup cgroup rw,pids\n"
    )
    return Cgroups(tmp_path)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        pytest.param(b"8:pids:/own\n0::/own\n", "unified/own", id="the unified one says most"),
        pytest.param(b"8:pids:/own\n0::/\n", "pids/own", id="at its root the other does"),
        pytest.param(b"8:cpu,pids:/own\n0::/\n", "pids/own", id="with another controller"),
        pytest.param(b"0::/\n", "unified", id="at the root of the only one"),
        pytest.param(b"0::/own:x\n", None, id="gone, with a colon in its name"),
        pytest.param(b"7:pidsy:/own\n0::/", "unified", id="a controller of like name"),
        pytest.param(b"x\n", "unified", id="no line"),
    ],
)
def test_cgroup(tmp_path: Path, hierarchies: Cgroups, text: bytes, place: str | None) -> None:
    """The number is that of the directory that the probes would name."""
    assert (0 if place is None else (tmp_path / place).stat().st_ino) == hierarchies.id_of(text)
