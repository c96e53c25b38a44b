"""Shells that another process hands an outbound connection to."""

from __future__ import annotations

from typing import NamedTuple

from agent.findings._shells import takes_commands
from agent.findings._shells import wants_a_person
from agent.model import Context
from agent.model import Process
from agent.model import Sensitivity
from agent.model import Socket
from agent.model import Wire

TOGETHER_NS = 5_000_000_000  # a script that is piped into a shell comes when it is ready; a reverse shell at once


class Handed(NamedTuple):
    """A connection that a shell hangs on, and what is said of it."""

    socket: Socket | None
    way: str
    shell: Process | None
    """Where that is not who acts."""


NOTHING = Handed(None, "", None)


def handed_to_a_shell(context: Context) -> Handed:
    """Return the connection by whose way a shell gets its commands; nothing for what that shell starts."""
    wire = context.wire
    if wire is None or not takes_commands(wire.shell) or not _is_for_a_person(wire, context.sensitivity):
        return NOTHING
    if any(_had(wire.shell, ancestor) for ancestor in context.lineage):
        return NOTHING
    between = {"tty": "a terminal", "socket": "a unix socket"}.get(wire.kind, "pipes")
    way = f" of shell {wire.shell.key.tgid}, by way of process {wire.holder.key.tgid} and {between}"
    made = wire.connect
    socket = Socket(
        protocol=made.protocol,
        local_address=None,
        local_port=None,
        remote_address=made.remote_address,
        remote_port=made.remote_port,
        cookie=made.cookie,
    )
    return Handed(socket, way, None if wire.shell.key == context.actor.key else wire.shell)


def _is_for_a_person(wire: Wire, sensitivity: Sensitivity) -> bool:
    """Answer whether somebody types there: on pipes alone it may be a script that was fetched before."""
    if wire.kind != "pipe" or sensitivity is Sensitivity.HIGH:
        return True
    return wants_a_person(wire.shell) or wire.apart_ns < TOGETHER_NS


def _had(shell: Process, ancestor: Process) -> bool:
    """Answer whether an ancestor is a shell with the same input, and so was a finding itself."""
    own = [(one.kind, one.inode) for one in shell.stdio if one.fd == 0]
    return takes_commands(ancestor) and own == [(one.kind, one.inode) for one in ancestor.stdio if one.fd == 0]
