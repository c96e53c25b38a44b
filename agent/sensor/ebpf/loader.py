"""The loader child: compiles, loads and attaches the probes, hands over what it made, and exits.

bcc brings LLVM (120 MB once it has compiled) and belongs to the system's Python.
So this runs as a short-lived child under whichever interpreter has bcc: over the
socket on descriptor 3 comes a request in JSON, and goes an answer in JSON with
the file descriptors of every link, program and map.  When it exits nothing
stays behind but what the parent holds: links vanish with their descriptors.
A second load gets the maps of the first with its request, and shares them.

Compiling is nearly all of its time.  Where there are two processors, and memory
for a second LLVM, a partner (a fork of this child) compiles half of the probes
and is given the maps of the other half before it loads them.

No dependencies beside bcc and the standard library; compatible with Python 3.9.
The mounts it needs (tracefs, cgroup2) are made in a mount namespace of its own.
"""

from __future__ import annotations

import ctypes
import os
import socket
from typing import Any
from typing import NamedTuple
from typing import NoReturn

from agent.sensor.ebpf import attach
from agent.sensor.ebpf import compiling
from agent.sensor.ebpf import memory
from agent.sensor.ebpf import messages
from agent.sensor.ebpf.btf import BtfError

PARENT_FD = 3
WORTH_SHARING = 6  # probes: fewer compile sooner than a partner has started
PARTNER_BYTES = 512 << 20  # three times what LLVM takes: a limit of 128 MB must hold, start included
_PR_SET_PDEATHSIG = 1
_SIGKILL = 9

Report = list[dict[str, Any]]
"""What became of each probe: name, attached, and lane with its hooks, or reason."""

Attached = tuple[dict[str, Any], tuple[int, ...]]
"""A hook as it was asked for, with the descriptors of its program and, unless an array holds that, its link."""


class _Loaded(NamedTuple):
    """What came of a part."""

    report: Report
    maps: dict[str, int]
    """The descriptor of each map, by its name."""
    fds: list[int]
    """Of programs and links."""


def main() -> None:
    """Answer one request.  The exit status is 0 even for a refusal: the answer says why."""
    _die_with_parent()
    with socket.socket(fileno=PARENT_FD) as parent:
        request, maps = messages.receive(parent)
        try:
            answer, fds = _load(request, dict(zip(request["maps"], maps)))
        except (BtfError, ImportError, attach.AttachError) as error:
            answer, fds = {"error": compiling.one_line(str(error))}, []
        messages.send(parent, answer, fds)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def _load(request: dict[str, Any], given: dict[str, int]) -> tuple[dict[str, Any], list[int]]:
    """Load what is asked for, on top of the maps `given` by name; return the answer and its descriptors."""
    mine, others = _shared_out(request)
    partner = _start_partner(request, others) if others else None
    part = _with_maps(compiling.compile_part(request, mine), given)
    report, maps, fds = _attach(part)
    if partner is not None:
        again = _ask_partner(partner, maps) or _attach(_with_maps(compiling.compile_part(request, others), maps))
        report += _moved(again.report, len(fds))
        maps, fds = {**again.maps, **maps}, fds + again.fds
    dispatchers = _attach_dispatchers(part.module, request, report)
    held = {function: attach.held(part.module, function) for function in request["held"]}
    first = len(maps) + len(held)
    answer = {
        "probes": sorted(_moved(report, first), key=lambda entry: str(entry["name"])),
        "dispatchers": _listed(dispatchers, first + len(fds)),
        "maps": {name: index for index, name in enumerate(maps)},
        "held": {function: len(maps) + index for index, function in enumerate(held)},
        "slots": compiling.slots(request),
    }
    return answer, [*maps.values(), *held.values(), *fds, *_descriptors(dispatchers)]


def _shared_out(request: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the names of the probes in two halves of about the same length of text, the second [] for one process."""
    wanted = [probe for probe in request["probes"] if probe["lanes"]]
    probes = sorted(wanted, key=lambda probe: -len(probe["text"]))
    names = [probe["name"] for probe in probes]
    alone = len(os.sched_getaffinity(0)) == 1 or memory.room_bytes() < PARTNER_BYTES
    if alone or request["maps"] or len(names) < WORTH_SHARING:
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
        said, fds = messages.receive(other)
        loaded = _attach(_with_maps(part, dict(zip(said["maps"], fds))))
        messages.send(other, {"probes": loaded.report, "maps": list(loaded.maps)}, [*loaded.maps.values(), *loaded.fds])
        status = 0
    finally:
        os._exit(status)


def _with_maps(part: compiling.Part, given: dict[str, int]) -> compiling.Part:
    """Put the maps given where the part has its own: the code names a map by its descriptor, until it is loaded."""
    for name, fd in compiling.maps(part).items():
        if name in given:
            os.dup2(given[name], fd)
    return part


def _ask_partner(partner: socket.socket, maps: dict[str, int]) -> _Loaded | None:
    """Give the partner our maps and return what it loaded, None when it is gone."""
    with partner:
        try:
            messages.send(partner, {"maps": list(maps)}, list(maps.values()))
            answer, fds = messages.receive(partner)
        except (OSError, EOFError):
            return None
    count = len(answer["maps"])
    return _Loaded(answer["probes"], dict(zip(answer["maps"], fds)), fds[count:])


def _attach(part: compiling.Part) -> _Loaded:
    """Load and attach a part."""
    attach.private_mounts()
    _hide(part)
    report: Report = [{"name": name, "attached": False, "reason": reason} for name, reason in part.refused.items()]
    fds: list[int] = []
    for name, probe in part.probes.items():
        lane, attached, reasons = _first_lane(part.module, probe["lanes"])
        if lane is None:
            report.append({"name": name, "attached": False, "reason": "; ".join(reasons)})
            continue
        entry = {"name": name, "attached": True, "lane": lane, "hooks": _listed(attached, len(fds))}
        report.append(entry if attached else {**entry, "reason": _nothing_to_see(probe["lanes"], lane)})
        fds += _descriptors(attached)
    return _Loaded(report, compiling.maps(part), fds)


def _nothing_to_see(lanes: list[dict[str, Any]], name: str) -> str:
    """Say why a lane attached nothing at all: all its hooks are optional, and this kernel has none of them."""
    hooks = [hook["target"] for lane in lanes for hook in lane["hooks"] if lane["name"] == name]
    return f"nothing to see: this kernel has no {', no '.join(hooks)}"


def _hide(part: compiling.Part) -> None:
    """Leave out this process and the one that waits for it; the agent stays, we are taken out when we end."""
    for tgid in (os.getpid(), os.getppid()):
        part.module["own_tgids"][ctypes.c_uint32(tgid)] = ctypes.c_uint8(1)


def _listed(attached: list[Attached], first: int) -> list[dict[str, Any]]:
    """Return each hook with the places of its descriptors, which are handed over in this order from `first` on."""
    listed = []
    for hook, fds in attached:
        places = list(range(first, first + len(fds)))
        listed.append({"kind": hook["kind"], "target": hook["target"], "fds": places})
        first += len(fds)
    return listed


def _moved(report: Report, by: int) -> Report:
    """Return the report for descriptors that stand `by` places further on."""
    for hook in [hook for entry in report for hook in entry.get("hooks", [])]:
        hook["fds"] = [place + by for place in hook["fds"]]
    return report


def _descriptors(attached: list[Attached]) -> list[int]:
    return [fd for _, fds in attached for fd in fds]


def _attach_dispatchers(module: Any, request: dict[str, Any], report: Report) -> list[Attached]:  # bcc has no types
    """Attach what calls the programs in arrays, once for all parts; what then is not called is said in `report`."""
    names = {probe["name"] for probe in request["probes"] for lane in probe["lanes"] if _is_called(lane)}
    called = [entry for entry in report if entry["attached"] and entry["name"] in names]
    attached: list[Attached] = []
    try:
        for hook in request["dispatchers"]:
            attached += [(hook, fds) for fds in attach.hook(module, hook)]
    except attach.AttachError as error:
        for entry in called:
            entry["reason"] = f"by {entry['lane']}, in part: {compiling.one_line(str(error))}"
    return attached


def _is_called(lane: dict[str, Any]) -> bool:
    return any(hook["kind"] == "program_array" for hook in lane["hooks"])


def _first_lane(
    module: Any,  # bcc has no types
    lanes: list[dict[str, Any]],
) -> tuple[str | None, list[Attached], list[str]]:
    """Return the first lane whose hooks all attach, its programs and links, and why others did not."""
    reasons: list[str] = []
    for lane in lanes:
        attached: list[Attached] = []
        try:
            for hook in lane["hooks"]:
                attached += [(hook, fds) for fds in attach.hook(module, hook)]
        except attach.AttachError as error:
            for link in [link for _, (_program, *links) in attached for link in links]:
                os.close(link)
            reasons.append(f"{lane['name']}: {compiling.one_line(str(error))}")
            continue
        return lane["name"], attached, reasons
    return None, [], reasons
