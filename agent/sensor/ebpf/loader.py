"""The loader child: compiles, loads and attaches the probes, hands over what it made, and exits.

bcc brings LLVM (120 MB once it has compiled) and belongs to the system's Python.
So this runs as a short-lived child under whichever interpreter has bcc: over the
socket on descriptor 3 comes a request in JSON, and goes an answer in JSON with
the file descriptors of every link, program and map.  When it exits nothing
stays behind but what the parent holds: links vanish with their descriptors.

No dependencies beside bcc and the standard library; compatible with Python 3.9.
The mounts it needs (tracefs, cgroup2) are made in a mount namespace of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import socket
import tempfile
from typing import Any

from agent.sensor.ebpf import attach
from agent.sensor.ebpf import kernel_tree
from agent.sensor.ebpf import selfcheck
from agent.sensor.ebpf.btf import BtfError
from agent.sensor.ebpf.btf import KernelTypes

PARENT_FD = 3
FDS_PER_MESSAGE = 200  # SCM_MAX_FD is 253, include/net/scm.h
MAPS = ("lifecycle", "activity", "losses", "own_tgids", "socket_owners")
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9


class CompileError(Exception):
    """The text does not compile; `output` is what clang said."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


def main() -> None:
    """Answer one request.  The exit status is 0 even for a refusal: the answer says why."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    with socket.socket(fileno=PARENT_FD) as parent:
        request = _receive(parent)
        try:
            answer, fds = _load(request)
        except (BtfError, ImportError) as error:
            answer, fds = {"error": _one_line(str(error))}, []
        _send(parent, answer, fds)


def _receive(parent: socket.socket) -> dict[str, Any]:
    with parent.makefile("rb") as stream:
        size = int.from_bytes(stream.read(4), "little")
        return dict(json.loads(stream.read(size)))


def _send(parent: socket.socket, answer: dict[str, Any], fds: list[int]) -> None:
    body = json.dumps(answer).encode()
    parent.sendall(len(body).to_bytes(4, "little") + len(fds).to_bytes(4, "little") + body)
    for start in range(0, len(fds), FDS_PER_MESSAGE):
        socket.send_fds(parent, [b"f"], fds[start : start + FDS_PER_MESSAGE])


def _load(request: dict[str, Any]) -> tuple[dict[str, Any], list[int]]:
    probes = {probe["name"]: probe for probe in request["probes"]}
    types = KernelTypes()
    with tempfile.TemporaryDirectory(prefix="vedette-") as tree:
        module, refused = _compile_what_can_be(types, request, probes, tree)
    wrong = selfcheck.wrong_offsets(module, types, _joined(request, probes))
    if wrong:
        raise BtfError(f"bcc reads the wrong place for {', '.join(wrong[:5])}: no record could be trusted")
    types.close()
    report, fds = _attach_all(module, probes)
    report += [{"name": name, "attached": False, "reason": reason} for name, reason in refused.items()]
    fds["maps"] = [module[name].map_fd for name in MAPS]
    order = fds["maps"] + fds["links"] + fds["programs"]
    answer = {
        "probes": sorted(report, key=lambda entry: str(entry["name"])),
        "maps": dict(zip(MAPS, range(len(MAPS)))),
        "slots": _slots(request),
    }
    return answer, order


def _slots(request: dict[str, Any]) -> dict[str, int]:
    """Return the index of each probe in the loss counters of this load."""
    return {probe["name"]: slot for slot, probe in enumerate(request["probes"])}


def _joined(request: dict[str, Any], probes: dict[str, Any]) -> str:
    """Return prelude and probes as one text: bcc rewrites the main file only."""
    parts = [f'#line 1 "{name}"\n{text}' for name, text in request["prelude"].items()]
    for name, probe in probes.items():
        parts.append(f'#line 1 "{name}.c"\n' + probe["text"])
    return "\n".join(parts)


def _compile_what_can_be(
    types: KernelTypes, request: dict[str, Any], probes: dict[str, Any], tree: str
) -> tuple[Any, dict[str, str]]:
    """Compile; drop each probe that clang names, with what it said, and go on with the rest."""
    refused: dict[str, str] = {}
    while True:
        try:
            return _compile(types, request, probes, tree), refused
        except CompileError as error:  # noqa: PERF203  # each round compiles less
            blamed = [name for name in probes if re.search(rf"\b{name}\.c:\d+", error.output)]
            if not blamed:
                raise BtfError("the prelude does not compile: " + _first_error(error.output)) from error
            for name in blamed:
                refused[name] = "does not compile: " + _first_error(error.output, name)
                del probes[name]


def _compile(types: KernelTypes, request: dict[str, Any], probes: dict[str, Any], tree: str) -> Any:  # bcc has no types
    text = _joined(request, probes)
    flags = kernel_tree.write(tree, types, text)
    flags += [f"-DPROBE_COUNT={len(request['probes'])}"]
    flags += [f"-DLIFECYCLE_PAGES={request['lifecycle_pages']}", f"-DACTIVITY_PAGES={request['activity_pages']}"]
    for name, slot in _slots(request).items():
        flags += [f"-DSLOT_{name}={slot}", f"-DKIND_{name}={request['probes'][slot]['kind']}"]
    os.environ["BCC_KERNEL_SOURCE"] = tree
    import bcc  # noqa: PLC0415  # may be missing: main() answers that

    text += selfcheck.functions(types, text)
    with tempfile.TemporaryFile() as captured:
        saved = os.dup(2)
        os.dup2(captured.fileno(), 2)
        try:
            return attach.ask_bcc(bcc.BPF, text=text, cflags=flags)
        except attach.AttachError as error:
            captured.seek(0)
            raise CompileError(captured.read().decode(errors="replace")) from error
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _attach_all(module: Any, probes: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, list[int]]]:
    attach.private_mounts()
    report: list[dict[str, Any]] = []
    fds: dict[str, list[int]] = {"links": [], "programs": []}
    for name, probe in probes.items():
        lane, attached, reasons = _first_lane(module, probe["lanes"])
        if lane is None:
            report.append({"name": name, "attached": False, "reason": "; ".join(reasons)})
            continue
        fds["links"] += [link for _program, link in attached]
        fds["programs"] += [program for program, _link in attached]
        report.append({"name": name, "attached": True, "lane": lane})
    return report, fds


def _first_lane(
    module: Any,  # bcc has no types
    lanes: list[dict[str, Any]],
) -> tuple[str | None, list[tuple[int, int]], list[str]]:
    """Return the first lane whose hooks all attach, its (program, link) pairs, and why others did not."""
    reasons: list[str] = []
    for lane in lanes:
        attached: list[tuple[int, int]] = []
        try:
            for hook in lane["hooks"]:
                attached += attach.hook(module, hook)
        except attach.AttachError as error:
            for _program, link in attached:
                os.close(link)
            reasons.append(f"{lane['name']}: {_one_line(str(error))}")
            continue
        return lane["name"], attached, reasons
    return None, [], reasons


def _first_error(output: str, probe: str = "") -> str:
    """Return clang's first error line, of `probe` when there is one."""
    lines = [line for line in output.splitlines() if "error:" in line]
    named = [line for line in lines if f"{probe}.c:" in line]
    return _one_line((named or lines or ["clang gave no reason"])[0])


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
