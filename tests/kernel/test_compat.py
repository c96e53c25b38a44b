"""The compat lane: what int 0x80 and a 32-bit program call gives the same events, marked as such."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from agent.model import Event
from agent.model import FileOpen
from agent.model import LibraryMap
from agent.model import ProcessExec
from agent.model import ProcessExit
from agent.probes import load
from agent.sensor.ebpf import compat as lane
from agent.sensor.ebpf import i386
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from tests.kernel import deeds
from tests.kernel.conftest import WAIT_S
from tests.kernel.conftest import Sensed

LOAD_TIMEOUT_S = 60.0
LINGER_S = 1.0
SOURCE = Path(__file__).with_name("compat.c")
UNISTD = Path("/usr/include/x86_64-linux-gnu/asm/unistd_32.h")
# What two runs of the same program do not have in common.
OWN = {
    *("time_ns", "at_ns", "tgid", "tid", "started_ns", "ns_tgid", "target_tgid", "target_started_ns", "target_number"),
    *(
        "inode",
        "inum",
        "changed_at_ns",
        "size_bytes",
        "cookie",
        "local_port",
        "remote_port",
        "start_address",
        "end_address",
        "uts",
    ),
    *("parent_tgid", "parent_started_ns", "via", "flags"),
}
IN_MEMORY = {"net_socket", "net_listen", "net_accept", "unix_connect", "library_map"}
"""Whose arguments socketcall and the old mmap have in the memory of the caller."""
NOT_CALLED = {"process_exit", "process_fork", "dns_query", "dns_answer", "agent_signal", "canary", "throttled"}
NOT_CALLED |= {"kexec", "module_load"}  # a kernel may have no such calls of its own
"""Kinds of which the program causes no event, or none that counts."""

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")


def built(directory: Path, *options: str) -> Path:
    """Return a static program that does the deeds, in a directory of its own."""
    directory.mkdir()
    program = directory / "deeds"
    flags = ("-O1", "-w", "-nostdlib", "-static", "-fno-pie", "-no-pie", "-mno-red-zone", "-fno-stack-protector")
    flags += (f"-I{UNISTD.parents[1]}",)  # gcc -m32 does not look there
    subprocess.run(["gcc", *flags, *options, "-o", program, SOURCE], check=True, capture_output=True)
    return program


@contextlib.contextmanager
def opened(when: lane.When) -> Iterator[Sensed]:
    """All probes, once the lane is loaded."""
    source = EbpfSource(Options(compat=when))
    try:
        sensed = Sensed(source, source.open())
        assert "" == source.await_compat(LOAD_TIMEOUT_S)
        yield sensed
    finally:
        source.close()


@pytest.fixture(scope="module")
def compat() -> Iterator[Sensed]:
    """All probes, with the lane attached."""
    with opened("always") as sensed:
        assert attached(sensed)
        yield sensed


def done(sensed: Sensed, program: Path) -> list[Event]:
    """Run `program` and return what was told of it, in order."""
    pid = deeds.run(program, cwd=program.parent)
    sensed.until(ProcessExit, lambda event: event.tgid == pid)
    sensed.collect(0.5)
    told = sensed.all(Event, lambda event: event.tgid == pid and not isinstance(event, ProcessExit))
    starts = [index for index, event in enumerate(told) if isinstance(event, ProcessExec)]
    assert 2 == len(starts)
    return told[starts[0] + 1 : starts[1] + 1]


def same(event: Event, program: Path) -> Any:
    """Return what must be the same of an event, however it was done."""
    text = msgspec.json.encode(event).decode().replace(str(program.parent), "HERE")
    shared = without_own(msgspec.json.decode(text))
    if isinstance(event, LibraryMap):
        del shared["result"]  # an address
    return shared


def without_own(value: Any) -> Any:
    """Return `value` without what is a run's own."""
    if isinstance(value, list):
        return [without_own(inner) for inner in value]
    return {k: without_own(v) for k, v in value.items() if k not in OWN} if isinstance(value, dict) else value


@pytest.mark.parametrize("options", [("-m32",), ("-m64",), ("-m32", "-DOLD")], ids=" ".join)
def test_same_events(compat: Sensed, tmp_path: Path, options: tuple[str, ...]) -> None:
    """Each deed is told once, as if it had been done by the machine's own calls, and by which way it was."""
    native = built(tmp_path / "native", "-DNATIVE")
    program = built(tmp_path / "compat", *options)
    expected, told = done(compat, native), done(compat, program)

    assert [same(event, native) for event in expected] == [same(event, program) for event in told]
    assert {event.__struct_config__.tag for event in told} | NOT_CALLED == {probe.name for probe in load()}
    assert {None} == {event.via for event in expected}
    for usual, event in zip(expected[:-1], told[:-1], strict=True):
        in_memory = "-DOLD" in options and event.__struct_config__.tag in IN_MEMORY
        assert "compat" == event.via, event
        assert set(usual.flags) | ({"user_memory"} if in_memory else set()) == set(event.flags), event


def test_attached_while_a_32_bit_program_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane comes with the first 32-bit program, sees its children, and goes some time after the last."""
    monkeypatch.setattr(lane, "LINGER_S", LINGER_S)
    native = built(tmp_path / "native", "-DNATIVE", "-DWAIT")
    program = built(tmp_path / "compat", "-m32", "-DWAIT")
    parent = built(tmp_path / "fork", "-m32", "-DFORK")
    with opened("auto") as sensed:
        assert not attached(sensed)
        expected = done(sensed, native)
        assert not attached(sensed)
        assert [same(event, native) for event in expected] == [same(event, program) for event in done(sensed, program)]

        pid = deeds.run(parent, cwd=parent.parent)
        sensed.until(FileOpen, lambda event: event.path == str(parent.parent / "first") and event.tgid != pid)
        assert_detached(sensed)


def test_program_that_was_there_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 32-bit program that ran before the sensor did is seen as soon as the lane is loaded."""
    monkeypatch.setattr(lane, "LINGER_S", LINGER_S)
    program = built(tmp_path / "compat", "-m32", "-DREAD")
    waiting = subprocess.Popen([program], stdin=subprocess.PIPE, cwd=program.parent)
    with waiting, opened("auto") as sensed:
        assert attached(sensed)
        waiting.communicate(b"x")
        assert "compat" == sensed.of_pid(FileOpen, waiting.pid).via
        assert_detached(sensed)


def test_not_wanted(tmp_path: Path) -> None:
    """With `off` nothing is loaded for it, and what a 32-bit program opens is not told."""
    program = built(tmp_path / "compat", "-m32")
    with opened("off") as sensed:
        assert not attached(sensed)
        assert {"net_bind", "net_connect", "process_exec"} == {
            event.__struct_config__.tag for event in done(sensed, program)
        }


def attached(sensed: Sensed) -> bool:
    """Tell whether calls of i386 are seen now."""
    return bool(sensed.source.counters().get("sensor.compat_attached"))


def assert_detached(sensed: Sensed) -> None:
    """The lane goes, in time."""
    until_s = time.monotonic() + LINGER_S + WAIT_S
    while attached(sensed):
        assert time.monotonic() < until_s
        sensed.collect(0.2)


@pytest.mark.skipif(not UNISTD.exists(), reason="needs the headers of this machine's kernel")
def test_numbers() -> None:
    """The table has the numbers that the kernel's own headers have."""
    defined = dict(re.findall(r"#define __NR_(\w+) (\d+)", UNISTD.read_text(encoding="ascii")))
    known = {name: str(number) for number, name in enumerate(i386.CALLS) if name != "-"}

    assert {name: number for name, number in defined.items() if name in known} == {
        name: number for name, number in known.items() if name in defined
    }
    assert len(defined) > 400
