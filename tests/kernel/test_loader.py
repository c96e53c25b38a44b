"""The loader child: one probe that fails costs one probe, and no offset is taken on trust."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent import probes
from agent.errors import HostUnsupported
from agent.sensor.ebpf import child
from agent.sensor.ebpf.btf import KernelTypes

PAGES = 16
ROOT = Path(child.__file__).resolve().parents[3]
PYTHON = child.interpreter_with_bcc(None)


def wanted(*names: str) -> dict[str, Any]:
    """Return a request for some of the probes, as the agent would make it."""
    return child.request(tuple(probe for probe in probes.load() if probe.name in names), PAGES, PAGES)


def loaded(request: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Load `request`, let go of everything, and return what became of each probe."""
    answer, fds = child.load(PYTHON, request)
    for fd in fds:
        os.close(fd)
    return {status["name"]: status for status in answer["probes"]}


def probe_in(request: dict[str, Any], name: str) -> dict[str, Any]:
    """Return the part of `request` that describes `name`."""
    return next(probe for probe in request["probes"] if probe["name"] == name)


def test_probe_that_does_not_compile() -> None:
    """A probe with an error in its text is dropped with what the compiler said; the others attach."""
    request = wanted("process_exit", "process_fork")
    probe_in(request, "process_fork")["text"] += "\nint broken(void) { return nowhere; }\n"
    status = loaded(request)

    assert status["process_exit"]["attached"]
    assert not status["process_fork"]["attached"]
    assert "undeclared identifier 'nowhere'" in status["process_fork"]["reason"]


def test_probe_that_the_verifier_refuses() -> None:
    """A probe that the kernel will not load is named, and the others attach."""
    request = wanted("process_exit", "process_fork")
    probe = probe_in(request, "process_fork")
    probe["text"] += "\nint wild(struct bpf_raw_tracepoint_args *ctx) { return *(int *)ctx->args[0]; }\n".replace(
        "*(int *)ctx->args[0]", "((volatile int *)0)[7]"
    )
    probe["lanes"][0]["hooks"][0]["function"] = "wild"
    status = loaded(request)

    assert status["process_exit"]["attached"]
    assert not status["process_fork"]["attached"]
    assert "raw tracepoint" in status["process_fork"]["reason"]


def test_next_lane_is_taken() -> None:
    """Where the first way to attach is not there, the second is taken and named."""
    request = wanted("process_exit")
    lanes = probe_in(request, "process_exit")["lanes"]
    hook = lanes[0]["hooks"][0]
    lanes.insert(0, {"name": "absent", "hooks": [{**hook, "target": "sched_process_nothing"}]})
    status = loaded(request)

    assert (status["process_exit"]["attached"], status["process_exit"]["lane"]) == (True, "raw tracepoint")


def test_missing_tracepoint_says_so() -> None:
    """A probe without a hook on this kernel is unavailable, with the name of what is missing."""
    request = wanted("process_exit", "process_fork")
    probe_in(request, "process_exit")["lanes"][0]["hooks"][0]["target"] = "sched_process_nothing"
    status = loaded(request)

    assert not status["process_exit"]["attached"]
    assert "sched_process_nothing" in status["process_exit"]["reason"]
    assert status["process_fork"]["attached"]


def test_io_uring_that_the_verifier_refuses() -> None:
    """What io_uring's way of a probe comes to does not cost the others: it goes on without."""
    request = wanted("file_unlink", "process_exit")
    probe = probe_in(request, "file_unlink")
    lanes = [loaded(request)["file_unlink"]["lane"]]
    probe["text"] = probe["text"].replace(
        "struct uring_call asked = {};", "struct uring_call asked = {}; asked.result = ((volatile int *)0)[7];"
    )
    lanes.append(loaded(request)["file_unlink"]["lane"])

    assert ["system call exit and io_uring", "system call exit"] == lanes


def test_optional_hook_that_the_verifier_refuses() -> None:
    """Optional means that a kernel may lack the hook, not that a broken program passes unnoticed."""
    request = wanted("process_exit")
    probe = probe_in(request, "process_exit")
    probe["text"] += "\nint wild(void *ctx) { return ((volatile int *)0)[7]; }\n"
    hook = {"function": "wild", "kind": "tracepoint", "target": "syscalls:sys_exit_openat", "optional": True}
    probe["lanes"][0]["hooks"].append(hook)
    refused = loaded(request)["process_exit"]
    hook["target"] = "syscalls:sys_exit_of_no_kernel"
    passed = loaded(request)["process_exit"]

    assert (False, True) == (refused["attached"], passed["attached"])


def test_struct_of_a_name_the_kernel_has() -> None:
    """A struct of our own is ours, also on a kernel that calls one of its own the same."""
    request = wanted("process_exit")
    probe_in(request, "process_exit")["text"] += "\nstruct fown_struct {\n\tint ours;\n};\n"
    types = KernelTypes()
    known = types.has_struct("fown_struct")
    types.close()

    assert known
    assert loaded(request)["process_exit"]["attached"]


def kill_partner(killed: list[int]) -> None:
    """Kill the process that compiles the second half as soon as there is one."""
    until = time.monotonic() + 20
    while not killed and time.monotonic() < until:
        for loader in psutil.Process().children():
            for partner in loader.children():
                partner.kill()
                killed.append(partner.pid)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) == 1, reason="a partner needs a second processor")
def test_partner_that_dies() -> None:
    """When the process that compiles half of the probes is killed, the other one does its work, too."""
    killed: list[int] = []
    killer = threading.Thread(target=kill_partner, args=(killed,))
    killer.start()
    status = loaded(wanted(*(probe.name for probe in probes.load())))
    killer.join()

    assert len(killed) == 1
    assert [] == [one for one in status.values() if not one["attached"]]


def test_nothing_is_left_attached() -> None:
    """With the descriptors closed, no program of ours is in the kernel."""
    _answer, fds = child.load(PYTHON, wanted("process_exit", "net_connect"))
    ours = {number for fd in fds for number in _program_ids(fd)}
    loaded_now = ours & _all_program_ids()
    for fd in fds:
        os.close(fd)

    assert len(ours) == 5
    assert ours == loaded_now
    until = time.monotonic() + 5  # the kernel frees a program after a grace period
    while ours & _all_program_ids() and time.monotonic() < until:
        time.sleep(0.05)
    assert set() == ours & _all_program_ids()


def test_prelude_that_does_not_compile() -> None:
    """When nothing can be compiled the reason is one line, not a screen of clang."""
    request = wanted("process_exit")
    request["prelude"]["prelude.c"] += "\nint;;broken broken\n"
    with pytest.raises(HostUnsupported, match="prelude does not compile") as raised:
        loaded(request)

    assert "\n" not in str(raised.value)


def test_python_without_bcc() -> None:
    """Without bcc the message names the package."""
    with pytest.raises(HostUnsupported, match="python3-bpfcc"):
        child.interpreter_with_bcc("/nonexistent/python3")


CHECK = """
import os, sys, tempfile
sys.path.insert(0, sys.argv[1])
from agent.sensor.ebpf import btf, kernel_tree, selfcheck
if sys.argv[2] == "unrepaired":
    btf.repair_padding = lambda header: header
types = btf.KernelTypes()
text = open(sys.argv[3]).read()
tree = tempfile.mkdtemp()
flags = kernel_tree.write(tree, types, text) + sys.argv[4:]
os.environ["BCC_KERNEL_SOURCE"] = tree
import bcc, shutil
module = bcc.BPF(text=text + selfcheck.functions(types, text), cflags=flags)
shutil.rmtree(tree)
print(sum(len(fields) for _, fields in selfcheck.checked(types, text)), *selfcheck.wrong_offsets(module, types, text))
"""


def check_offsets(tmp_path: Path, padding: str) -> list[str]:
    """Return how many fields were compared, then those that bcc reads elsewhere than BTF says."""
    text = tmp_path / "text.c"
    prelude = "\n".join((ROOT / "ebpf" / name).read_text() for name in child.PRELUDE)
    text.write_text(prelude + "\n// arg_start arg_end\nstruct mm_struct;\n")
    flags = ["-DPROBE_COUNT=1", "-DLIFECYCLE_PAGES=16", "-DACTIVITY_PAGES=16"]
    command = [PYTHON, "-I", "-c", CHECK, str(ROOT), padding, str(text), *flags]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.split()


def test_emitted_offsets_agree_with_btf(tmp_path: Path) -> None:
    """Every field that the prelude names is read where the kernel keeps it."""
    count, *wrong = check_offsets(tmp_path, "repaired")

    assert int(count) > 80
    assert [] == wrong


def test_check_notices_unrepaired_padding(tmp_path: Path) -> None:
    """With the gaps as libbpf prints them, the check names the arguments of every process."""
    _count, *wrong = check_offsets(tmp_path, "unrepaired")

    assert "mm_struct.arg_start" in wrong


CALLS = """
import json, struct, sys
sys.path.insert(0, sys.argv[1])
from agent.sensor.ebpf import btf, casts, compiling
types = btf.KernelTypes()
usable = casts.is_usable(types)
if sys.argv[2] == "refused":
    casts.is_usable = lambda types: False
part = compiling.compile_part(json.load(sys.stdin), ["process_exit"])
code = part.module.dump_func(b"process_exit_raw")
calls = [each[1:] for each in struct.iter_unpack("<BBhi", code) if each[0] == 0x85]
believed = calls.count((0x20, 0, types.function_id(casts.FUNCTION)))
print(int(usable), believed, calls.count((0, 0, 113)), calls.count((0, 0, casts.HELPER)))
"""


def calls_in(way: str) -> tuple[int, ...]:
    """Return whether casts can be used; how many there are, reads by call, and calls to no helper at all."""
    request = json.dumps(wanted("process_exit"))
    command = [PYTHON, "-I", "-c", CALLS, str(ROOT), way]
    ran = subprocess.run(command, check=True, capture_output=True, input=request, text=True, timeout=60)
    return tuple(map(int, ran.stdout.split()))


def test_reads_are_loads_where_the_kernel_believes_a_pointer() -> None:
    """Where it has bpf_rdonly_cast hardly anything is read by call; where it has not, everything is."""
    usable, believed, by_call, nowhere = calls_in("asked")
    _, refused, all_by_call, never = calls_in("refused")

    assert (refused, never, nowhere) == (0, 0, 0)
    assert by_call < all_by_call / 2 if usable else believed == 0
    assert bool(believed) == bool(usable)


def _program_ids(fd: int) -> list[int]:
    """Return the id of the program that `fd` holds, [] when it holds something else."""
    lines = Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines()
    is_link = any(line.startswith("link_id") for line in lines)
    return [int(line.split()[1]) for line in lines if line.startswith("prog_id") and not is_link]


def _all_program_ids() -> set[int]:
    listed = subprocess.run(["/usr/sbin/bpftool", "-j", "prog", "list"], check=True, capture_output=True).stdout
    return {program["id"] for program in json.loads(listed)}
