"""What process_exec makes of a record: words, sections, descriptors."""

from __future__ import annotations

import pytest

from agent.model import ProcessExec
from agent.probes import process_exec
from agent.probes.header import SOCKET
from tests.unit.probes.records import Value
from tests.unit.probes.records import decoded
from tests.unit.probes.records import packed
from tests.unit.probes.records import record

AT = process_exec.RECORD.offset("data")
SECTIONS = ("path", "cwd", "cgroup", "filename", "args")


def made(*, environment: bytes = b"", args_bytes: int | None = None, **texts: bytes) -> bytes:
    """Return a record with these sections."""
    data, ends = b"", {}
    for name in SECTIONS:
        data += texts.get(name, b"")
        ends[f"{name}_end"] = AT + len(data)
    total = len(texts.get("args", b"")) if args_bytes is None else args_bytes
    return record(process_exec.PROBE, data=data + environment, args_bytes=total, **ends)


def event(raw: bytes) -> ProcessExec:
    """Return the event; the record must be sound."""
    found = decoded(process_exec.PROBE, raw)
    assert isinstance(found, ProcessExec)
    return found


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"path_end": AT - 1}, id="a section that begins in the header"),
        pytest.param({"path_end": AT + 1}, id="a section behind the end"),
        pytest.param({"path_end": AT, "cwd_end": 0}, id="a section that ends before it begins"),
        pytest.param({"args_bytes": 1}, id="arguments that are not there"),
        pytest.param({"args_bytes": 10**9}, id="a lot of them"),
    ],
)
def test_sections_that_lie(changes: dict[str, Value]) -> None:
    """A record whose sections do not fit into it is malformed."""
    ends: dict[str, Value] = {f"{name}_end": AT for name in SECTIONS}

    assert decoded(process_exec.PROBE, record(process_exec.PROBE, **{**ends, **changes})) is None


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        pytest.param(b"", (), id="none at all"),
        pytest.param(b"sh\0", ("sh",), id="one"),
        pytest.param(b"\0", ("",), id="one that is empty"),
        pytest.param(b"sh\0-c\0\0x y\0", ("sh", "-c", "", "x y"), id="several"),
        pytest.param(b"no end", ("no end",), id="rewritten before it was read"),
        pytest.param(b"\xff\xc3\x28\0", ("\\xff\\xc3(",), id="no text"),
    ],
)
def test_arguments(raw: bytes, words: tuple[str, ...]) -> None:
    """Arguments are what stands between the NULs."""
    assert words == event(made(args=raw)).args


def test_head_and_tail() -> None:
    """Of a long list the two ends are kept apart, with the number of bytes between them."""
    found = event(made(args=b"a\0" * 1280 + b"z\0" * 768, args_bytes=5000))

    assert (("a",) * 1280, ("z",) * 768, 904) == (found.args, found.args_tail, found.args_omitted_bytes)


@pytest.mark.parametrize(
    ("names", "path"),
    [
        pytest.param(b"", "/", id="the root itself"),
        pytest.param(b"true\0bin\0usr\0", "/usr/bin/true", id="leaf first"),
        pytest.param(b"leaf\0d\0\0", "…/d/leaf", id="the root's end is missing"),
        pytest.param(b"\0", "…/", id="all is missing"),
        pytest.param(b"a\nb\0", "/a\nb", id="control characters are kept"),
    ],
)
def test_paths(names: bytes, path: str) -> None:
    """A path is its names from the root; a part of one says that it is a part."""
    assert path == event(made(path=names)).path


def test_environment() -> None:
    """Only the two loader variables are looked for, by their whole name."""
    found = event(made(environment=b"LD_PRELOADED=/no\0LD_PRELOAD=/a.so=b\0LD_LIBRARY_PATH=\0"))

    assert ("/a.so=b", "") == (found.ld_preload, found.ld_library_path)


def test_the_last_setting_of_a_variable_counts() -> None:
    """A harmless LD_PRELOAD in front cannot hide the one that ld.so loads."""
    assert "/evil.so" == event(made(environment=b"LD_PRELOAD=/ok.so\0LD_PRELOAD=/evil.so\0")).ld_preload


@pytest.mark.parametrize(
    ("mode", "rdev", "kind"),
    [
        (0o140777, 0, "socket"),
        (0o010600, 0, "pipe"),
        (0o100644, 0, "file"),
        (0o020666, 1 << 20 | 3, "device"),
        (0o020620, 136 << 20, "tty"),
        (0o020620, 5 << 20, "tty"),
        (0o040755, 0, "other"),
    ],
)
def test_descriptors(mode: int, rdev: int, kind: str) -> None:
    """A descriptor is told by the type of its inode, a terminal by its major number; a closed one is left out."""
    stdio = packed(process_exec.STDIO, mode_raw=mode, rdev=rdev, inode=9)
    raw = record(
        process_exec.PROBE,
        stdio=b"\0" * len(stdio) + stdio + b"\0" * len(stdio),
        **{f"{name}_end": AT for name in SECTIONS},
    )

    assert [(1, kind, 9, None)] == [(one.fd, one.kind, one.inode, one.socket) for one in event(raw).stdio]


def test_mapped_address_is_an_ipv4_address() -> None:
    """An IPv4 peer of an IPv6 socket is told by the address that lists know it by."""
    mapped = bytes(10) + b"\xff\xff" + bytes([192, 0, 2, 1])
    socket = packed(SOCKET, family=10, protocol=6, remote_address=mapped, remote_port=443, cookie=0)
    stdio = packed(process_exec.STDIO, mode_raw=0o140777, socket=socket)
    raw = record(process_exec.PROBE, stdio=stdio, **{f"{name}_end": AT for name in SECTIONS})
    found = event(raw).stdio[0].socket

    assert found is not None
    assert ("192.0.2.1", 443, "::", None) == (
        found.remote_address,
        found.remote_port,
        found.local_address,
        found.cookie,
    )
