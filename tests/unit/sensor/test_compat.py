"""The compat lane's requests: which calls of i386 are handed to which function."""

from __future__ import annotations

from agent import probes
from agent.sensor.ebpf import child
from agent.sensor.ebpf import compat
from agent.sensor.ebpf import i386

BY_SOCKETCALL_ALONE = {"accept"}
NOT_OF_I386 = {"kexec_file_load"}


def test_every_call_that_is_watched_is_watched_in_both() -> None:
    """No call of x86-64 that a probe is for is left out of the lane."""
    hooks = (hook for probe in probes.load() for lane in probe.lanes for hook in lane.hooks)
    called = {hook.target.partition("sys_exit_")[2] for hook in hooks if hook.target.startswith("syscalls:")}

    assert {call for call in called if not i386.numbers(call)} <= BY_SOCKETCALL_ALONE | NOT_OF_I386


def test_a_call_is_known_by_each_of_its_forms() -> None:
    """What came in 16 bits first, or got a new number, is the same call to a probe."""
    assert (23, 213) == i386.numbers("setuid")
    assert (90, 192) == i386.numbers("mmap")
    assert () == i386.numbers("nothing")


def test_the_request_has_the_same_slots_as_the_first() -> None:
    """Both loads count in one table: a probe that the lane has no call for keeps its place."""
    first, second = child.request(probes.load(), 1, 1), compat.request(probes.load(), "auto")

    assert [probe["name"] for probe in first["probes"]] == [probe["name"] for probe in second["probes"]]
    lanes = {probe["name"]: probe["lanes"] for probe in second["probes"]}
    assert [] == lanes["process_exec"] == lanes["canary"]
    assert [{"compat_calls:26"}] == [{hook["target"] for hook in lane["hooks"]} for lane in lanes["ptrace"]]


def test_only_auto_watches_who_starts() -> None:
    """Hooks on starts, forks and ends are there where somebody asks them."""
    assert [] == compat.request(probes.load(), "always")["dispatchers"]
    assert 3 == len(compat.request(probes.load(), "auto")["dispatchers"])
