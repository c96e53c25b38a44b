"""A process was started from what no directory holds: a memfd, a script in a memfd, or a file already unlinked.

What leaves no file behind is found by no scan afterwards.

Noise: packers and runtimes that unpack into memory; a container runtime in a container or in a rootless namespace;
a service whose executable was replaced by an upgrade and is started again from an open descriptor.
Blind to: code mapped into a running process; a script whose interpreter is gone before its descriptor was looked at, or
that lies in an unlinked file; a program that starts from disk, unlinks itself and executes itself.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._examples import CONTAINER_MNT_NS
from agent.findings._examples import FILE
from agent.findings._examples import HOST_MNT_NS
from agent.findings._examples import executable
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.findings._examples import silent
from agent.model import Context
from agent.model import Evidence
from agent.model import ProcessExec
from agent.model import Sensitivity
from agent.model import Severity

NAME = "DefenseEvasion:Runtime/FilelessExecution"


def match(event: ProcessExec, context: Context) -> Evidence | None:
    """Return the reason, if no directory holds the executable and the program is not its own successor."""
    evidence = _program(event, context) or _script(context)
    if evidence is None:
        return None
    return None if context.benign.excuse(NAME, event, context) is not None else evidence


def _program(event: ProcessExec, context: Context) -> Evidence | None:
    if not event.memfd and not event.unlinked:
        return None
    replaced = context.actor.replaced
    if not event.memfd and replaced is not None and replaced.file == event.file:
        return None
    origin = "a memfd" if event.memfd else "a file that is unlinked"
    return Evidence(reason=f"{event.path} was executed from {origin}", file_path=event.path)


def _script(context: Context) -> Evidence | None:
    """Return the script that an interpreter was given by a descriptor of a memfd."""
    for written, to in context.led_to:
        if to.startswith("/memfd:"):
            path = to.removesuffix(" (deleted)")
            return Evidence(reason=f"{path}, a script, was executed from a memfd", file_path=path, script_path=written)
    return None


_CLONE = process_exec(path="/memfd:runc_cloned:/proc/self/exe", memfd=True, size_bytes=8_752_456, mnt_ns=HOST_MNT_NS)
_RUNC = executable("/usr/sbin/runc", package="runc", size_bytes=8_752_456)
_CRUN = executable("/usr/bin/crun", package="crun", size_bytes=8_752_456)
_RUNNING_RUNC = on_host(actor=process(replaced=_RUNC))

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    attack="T1620",
    title="{process} was executed from memory {place}",
    on=ProcessExec,
    match=match,
    examples=(
        fires("a memfd on the host", process_exec(memfd=True, mnt_ns=HOST_MNT_NS), on_host()),
        fires("a memfd in a container", process_exec(memfd=True), in_container()),
        fires("an unlinked file", process_exec(unlinked=True), on_host(actor=process(replaced=_RUNC))),
        fires("an unlinked file, by a process of unknown past", process_exec(unlinked=True), on_host()),
        fires(
            "a memfd that executes itself",
            process_exec(memfd=True),
            on_host(actor=process(replaced=executable("/memfd:x", file=FILE, memfd=True))),
        ),
        fires("a memfd that borrows the name of runc's", _CLONE, on_host()),
        fires(
            "a memfd that borrows the name, by a shell",
            _CLONE,
            on_host(actor=process(replaced=executable("/usr/bin/bash", size_bytes=8_752_456))),
        ),
        fires(
            "run by runc, but of another size",
            process_exec(memfd=True, mnt_ns=HOST_MNT_NS, size_bytes=8_752_455),
            _RUNNING_RUNC,
        ),
        fires(
            "a runc of the container's own",
            process_exec(memfd=True, mnt_ns=CONTAINER_MNT_NS, size_bytes=8_752_456),
            in_container(actor=process(replaced=_RUNC)),
        ),
        silent("runc's copy of itself", _CLONE, _RUNNING_RUNC),
        silent("runc's copy of itself, already in the cgroup", _CLONE, in_container(actor=process(replaced=_RUNC))),
        silent("runc's copy of itself, at high", _CLONE, _RUNNING_RUNC, sensitivity=Sensitivity.HIGH),
        silent("crun's copy of itself", _CLONE, on_host(actor=process(replaced=_CRUN))),
        silent(
            "a daemon that executes itself after an upgrade",
            process_exec(unlinked=True),
            on_host(actor=process(replaced=executable("/usr/sbin/sshd", file=FILE))),
        ),
        fires(
            "a script in a memfd",
            process_exec(),
            on_host(led_to=(("/dev/fd/3", "/memfd:x (deleted)"),)),
            shows={"file_path": "/memfd:x", "script_path": "/dev/fd/3"},
        ),
        silent("a script from a pipe", process_exec(), on_host(led_to=(("/dev/fd/3", "pipe:[4242]"),))),
        silent("a file on disk", process_exec(), on_host()),
    ),
)
