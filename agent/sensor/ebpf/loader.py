"""The loader child: compiles, loads and attaches the probes, hands over what it made, and exits.

bcc brings LLVM (120 MB once it has compiled) and belongs to the system's Python.
So this runs as a short-lived child under whichever interpreter has bcc: over the
socket on descriptor 3 comes a request in JSON, and goes an answer in JSON with
the file descriptors of every link, program and map.  When it exits nothing
stays behind but what the parent holds: links vanish with their descriptors.

Compiling is nearly all of its time.  Where there are two processors, and memory
for a second LLVM, a partner (a fork of this child) compiles half of the probes
and is given the maps of the other half before it loads them.

No dependencies beside bcc and the standard library; compatible with Python 3.9.
The mounts it needs (tracefs, cgroup2) are made in a mount namespace of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import socket
from typing import Any
from typing import NoReturn

from agent.sensor.ebpf import attach
from agent.sensor.ebpf import compiling
from agent.sensor.ebpf import memory
from agent.sensor.ebpf.btf import BtfError

PARENT_FD = 3
FDS_PER_MESSAGE = 200  # SCM_MAX_FD is 253, include/net/scm.h
MAPS = (
    "lifecycle",
    "activity",
    "losses",
    "own_tgids",
    "socket_owners",
    "uring_calls",
    "uring_requests",
    "uring_handed",
)
WORTH_SHARING = 6  # probes: fewer compile sooner than a partner has started
PARTNER_BYTES = 512 << 20  # three times what LLVM takes: a limit of 128 MB must hold, start included
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9

Report = list[dict[str, Any]]
"""What became of each probe: name, attached, and lane or reason."""


def main() -> None:
    """Answer one request.  The exit status is 0 even for a refusal: the answer says why."""
    _die_with_parent()
    with socket.socket(fileno=PARENT_FD) as parent:
        request = _receive(parent)
        try:
            answer, fds = _load(request)
        except (BtfError, ImportError) as error:
            answer, fds = {"error": compiling.one_line(str(error))}, []
        _send(parent, answer, fds)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)


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
    mine, others = _shared_out(request)
    partner = _start_partner(request, others) if others else None
    part = compiling.compile_part(request, mine)
    maps = [part.module[name].map_fd for name in MAPS]
    report, fds = _attach(part)
    if partner is not None:
        more = _ask_partner(partner, maps) or _attach(_with_maps(compiling.compile_part(request, others), maps))
        report, fds = report + more[0], fds + more[1]
    fds += _attach_dispatchers(part.module, request, report)
    answer = {
        "probes": sorted(report, key=lambda entry: str(entry["name"])),
        "maps": dict(zip(MAPS, range(len(MAPS)))),
        "slots": compiling.slots(request),
    }
    return answer, maps + fds


def _shared_out(request: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of the probes in two halves of about the same length of text, the second [] for one process."""
    probes = sorted(request["probes"], key=lambda probe: -len(probe["text"]))
    names = [probe["name"] for probe in probes]
    alone = len(os.sched_getaffinity(0)) == 1 or memory.room_bytes() < PARTNER_BYTES
    if alone or len(names) < WORTH_SHARING:
        return names, []
    halves: tuple[list[str], list[str]] = ([], [])
    lengths = [0, 0]
    for probe in probes:
        shorter = lengths.index(min(lengths))
        halves[shorter].append(probe["name"])
        lengths[shorter] += len(probe["text"])
    return halves


def _start_partner(request: dict[str, Any], names: list[str]) -> socket.socket:
    ours, theirs = socket.socketpair()
    if os.fork():
        theirs.close()
        return ours
    ours.close()
    os.close(PARENT_FD)
    return _be_partner(theirs, request, names)


def _be_partner(other: socket.socket, request: dict[str, Any], names: list[str]) -> NoReturn:
    """Load a half with the maps of the other; whatever goes wrong, the other half does it again and says why."""
    status = 1
    try:
        _die_with_parent()
        part = compiling.compile_part(request, names)
        _, maps, _, _ = socket.recv_fds(other, 1, len(MAPS))
        if len(maps) == len(MAPS):
            report, fds = _attach(_with_maps(part, maps))
            _send(other, {"probes": report}, fds)
            status = 0
    finally:
        os._exit(status)


def _with_maps(part: compiling.Part, maps: list[int]) -> compiling.Part:
    """Put shared maps where the part has its own: the code names a map by its descriptor, until it is loaded."""
    for name, fd in zip(MAPS, maps):
        os.dup2(fd, part.module[name].map_fd)
    return part


def _ask_partner(partner: socket.socket, maps: list[int]) -> tuple[Report, list[int]] | None:
    """Give the partner our maps and return what it attached, None when it is gone."""
    with partner:
        try:
            socket.send_fds(partner, [b"m"], maps)
            size, count = (int.from_bytes(_exactly(partner, 4), "little") for _ in range(2))
            body = _exactly(partner, size)
            fds: list[int] = []
            while len(fds) < count:
                _, received, _, _ = socket.recv_fds(partner, 1, FDS_PER_MESSAGE)
                if not received:
                    return None
                fds += received
        except (OSError, EOFError):
            return None
    return json.loads(body)["probes"], fds


def _exactly(partner: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = partner.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _attach(part: compiling.Part) -> tuple[Report, list[int]]:
    """Load and attach a part; return the report, and the descriptors of its links and programs."""
    attach.private_mounts()
    report: Report = [{"name": name, "attached": False, "reason": reason} for name, reason in part.refused.items()]
    fds: list[int] = []
    for name, probe in part.probes.items():
        lane, attached, reasons = _first_lane(part.module, probe["lanes"])
        if lane is None:
            report.append({"name": name, "attached": False, "reason": "; ".join(reasons)})
            continue
        fds += [fd for pair in attached for fd in pair]
        report.append({"name": name, "attached": True, "lane": lane})
    return report, fds


def _attach_dispatchers(module: Any, request: dict[str, Any], report: Report) -> list[int]:  # bcc has no types
    """Attach what calls the programs in arrays, once for all parts; what then is not called is said in `report`."""
    names = {probe["name"] for probe in request["probes"] for lane in probe["lanes"] if _is_called(lane)}
    called = [entry for entry in report if entry["attached"] and entry["name"] in names]
    attached: list[tuple[int, ...]] = []
    try:
        for hook in request["dispatchers"]:
            attached += attach.hook(module, hook)
    except attach.AttachError as error:
        for entry in called:
            entry["reason"] = f"by {entry['lane']}, in part: {compiling.one_line(str(error))}"
    return [fd for pair in attached for fd in pair]


def _is_called(lane: dict[str, Any]) -> bool:
    return any(hook["kind"] == "program_array" for hook in lane["hooks"])


def _first_lane(
    module: Any,  # bcc has no types
    lanes: list[dict[str, Any]],
) -> tuple[str | None, list[tuple[int, ...]], list[str]]:
    """Return the first lane whose hooks all attach, its programs and links, and why others did not."""
    reasons: list[str] = []
    for lane in lanes:
        attached: list[tuple[int, ...]] = []
        try:
            for hook in lane["hooks"]:
                attached += attach.hook(module, hook)
        except attach.AttachError as error:
            for link in [link for _program, *links in attached for link in links]:
                os.close(link)
            reasons.append(f"{lane['name']}: {compiling.one_line(str(error))}")
            continue
        return lane["name"], attached, reasons
    return None, [], reasons
