"""What somebody does to our hooks and maps is found, told by the probe, and put right where that is possible."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent import probes
from agent.model import FileUnlink
from agent.model import NetConnect
from agent.model import ProcessExit
from agent.sensor.ebpf import links
from agent.sensor.ebpf import sensitive
from agent.sensor.ebpf.links import Held
from agent.sensor.ebpf.source import EbpfSource
from agent.sensor.ebpf.source import Options
from agent.sensor.source import Harm
from tests import tampering
from tests.kernel import deeds
from tests.kernel import rings
from tests.kernel.conftest import Sensed

WANTED = ("canary", "file_unlink", "net_connect", "process_exit")
UNLINKAT = 36  # IORING_OP_UNLINKAT
UNLINK = f"setup(); submit(entry({UNLINKAT}, -100, text(sys.argv[1])))"
CONNECT = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('127.0.0.1', 9))"


@pytest.fixture
def own() -> Iterator[Sensed]:
    """A sensor of the test's own, for it to be tampered with."""
    source = EbpfSource(Options(probes=tuple(probe for probe in probes.load() if probe.name in WANTED)))
    try:
        yield Sensed(source, source.open())
    finally:
        source.close()


def hooks(sensed: Sensed, kind: str) -> list[Held]:
    """Return the hooks of one kind."""
    assert sensed.source._guard is not None
    return [hook for hook in sensed.source._guard._hooks if hook.kind == kind]


def test_nothing_is_wrong_while_nobody_does_anything(sensor: Sensed) -> None:
    """Every hook of every probe is known and found attached, whatever kind it is of; each is told to its probe."""
    assert [] == sensor.source.look_after()
    assert sensor.source._guard is not None
    held = sensor.source._guard._hooks
    there = {name for name, status in sensor.status.items() if not status.reason}  # kernels lack modules, or kexec
    assert {probe.name for probe in probes.load() if probe.lanes[0].hooks} & there == {hook.probe for hook in held}
    assert {"process_exec", "file_open"} <= there
    kinds = {hook.kind for probe in probes.load() for lane in probe.lanes for hook in lane.hooks}
    assert kinds == {hook.kind for hook in held}


def test_a_link_that_is_detached_is_told_and_attached_again(own: Sensed) -> None:
    """Whoever detaches a hook by its number blinds it until the next look; what happens after that is seen."""
    [hook] = [hook for hook in hooks(own, "cgroup_sock_addr") if hook.target == "connect4"]
    tampering.detach(tampering.link_id(hook.link))
    unseen = deeds.python(CONNECT)

    harms = own.source.look_after()

    seen = deeds.python(CONNECT)
    own.of_pid(NetConnect, seen)
    assert [] == own.all(NetConnect, lambda event: event.tgid == unseen)
    assert [Harm("net_connect", "cgroup_sock_addr connect4 was detached", mended=True)] == harms
    assert [] == own.source.look_after()


def test_a_program_that_is_taken_out_of_its_array_is_put_back(own: Sensed, tmp_path: Path) -> None:
    """Names taken away through io_uring are seen again after the entry for them was deleted."""
    for name in ("unseen", "seen"):
        (tmp_path / name).touch()
    tampering.take_out(own.source._maps["uring_calls"], UNLINKAT)
    unseen = deeds.python(rings.RING + UNLINK, str(tmp_path / "unseen"))

    harms = own.source.look_after()

    own.of_pid(FileUnlink, deeds.python(rings.RING + UNLINK, str(tmp_path / "seen")))
    assert [] == own.all(FileUnlink, lambda event: event.tgid == unseen)
    assert [] == list(tmp_path.iterdir())
    assert [Harm("file_unlink", f"program_array uring_calls:{UNLINKAT} was detached", mended=True)] == harms
    assert [] == own.source.look_after()


def test_a_tracepoint_that_has_another_program_cannot_be_mended(own: Sensed) -> None:
    """Where nothing can be done that is said, again at each look, and not of the other hooks."""
    first, second = hooks(own, "tracepoint")[:2]
    assert first.link is not None
    assert second.link is not None
    os.dup2(second.link, first.link)
    told = f"tracepoint {first.target} was detached"
    expected = [Harm(first.probe, told, mended=False)]

    assert first.program_id != second.program_id
    assert expected == own.source.look_after() == own.source.look_after()


def test_a_process_that_is_hidden_comes_to_light(own: Sensed) -> None:
    """Who puts itself among our own processes is invisible to all probes, and is so no longer than until the look."""
    table = own.source._maps["own_tgids"]
    with subprocess.Popen([sys.executable, "-c", "input();" + CONNECT], stdin=subprocess.PIPE) as hidden:
        tampering.put(table, hidden.pid, b"\1")

        harms = own.source.look_after()

        hidden.communicate(b"\n")
        own.of_pid(NetConnect, hidden.pid)
    assert [Harm("canary", f"process {hidden.pid} was hidden from every probe", mended=True)] == harms


def test_the_agent_stays_out_of_what_it_tells(own: Sensed) -> None:
    """Who takes us out of our own processes floods us with ourselves until the look, and stops no canary."""
    table = own.source._maps["own_tgids"]
    tampering.take_out(table, os.getpid())
    assert [] == list(links.keys(table))

    harms = own.source.look_after()

    assert [Harm("canary", "the agent was no longer known as our own", mended=True)] == harms
    assert [os.getpid()] == list(links.keys(table))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        ours.connect(("127.0.0.1", 9))
    own.collect(0.3)
    assert [] == own.all(NetConnect, lambda event: event.tgid == os.getpid())


def test_a_process_of_ours_that_ended_is_ours_no_more(own: Sensed) -> None:
    """The number of a process of ours that has ended hides nobody who is given it later."""
    with subprocess.Popen(["sleep", "60"]) as helper:
        own.source._guard._own_tgids.add(helper.pid)  # type: ignore[union-attr]  # it is open
        table = own.source._maps["own_tgids"]
        assert [] == own.source.look_after()
        tampering.put(table, helper.pid, b"\1")

        assert [Harm("canary", f"process {helper.pid} was hidden from every probe", mended=True)] == (
            own.source.look_after()
        )
        helper.kill()


def test_a_kind_that_was_switched_off_is_switched_on_again(own: Sensed, tmp_path: Path) -> None:
    """Whoever turns a switch of ours hides what it is for until the look; what we turned ourselves stays so."""
    own.source.switch("process_exit", on=False)
    tampering.put(own.source._maps["policy"], own.source._slots["file_unlink"], b"\1\0\0\0")

    harms = own.source.look_after()

    (tmp_path / "seen").touch()
    pid = deeds.python("import os, sys; os.unlink(sys.argv[1])", str(tmp_path / "seen"))
    own.of_pid(FileUnlink, pid)
    assert [] == own.all(ProcessExit, lambda event: event.tgid == pid)
    assert [Harm("file_unlink", "its switch in the kernel was turned", mended=True)] == harms
    assert [] == own.source.look_after()


def test_a_file_that_was_made_insensitive_is_sensitive_again(own: Sensed) -> None:
    """Whoever takes entries from the list of sensitive files is told of once, however many they were."""
    table = own.source._maps["sensitive_files"]
    before = sensitive.tables()["sensitive_files"]
    for key in list(before)[:3]:
        tampering.take_out(table, key)

    assert [Harm("file_open", "the list of sensitive files was changed", mended=True)] == own.source.look_after()
    assert before == {key: links.lookup(table, key, len(value)) for key, value in before.items()}


def test_a_closed_source_is_left_alone(own: Sensed) -> None:
    """Nothing is told of hooks that we detached ourselves."""
    own.source.close()

    assert [] == own.source.look_after()
