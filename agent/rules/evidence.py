"""The evidence of a rule that holds: GuardDuty's context fields, as far as the event has them, and what matched.

Never a command line, by GuardDuty's rule: of one it is told what was looked for (fields.SECRETS).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import Event
from agent.model import Evidence
from agent.model import FdDup
from agent.model import FileLink
from agent.model import FileMode
from agent.model import FileOpen
from agent.model import FileOwner
from agent.model import FileRename
from agent.model import FileTruncate
from agent.model import FileUnlink
from agent.model import LibraryMap
from agent.model import ModuleLoad
from agent.model import Mount
from agent.model import NetAccept
from agent.model import NetConnect
from agent.model import NetListen
from agent.model import ProcessExec
from agent.model import RuleMatch
from agent.model import Socket
from agent.model import UnixConnect
from agent.rules.fields import Look
from agent.rules.rule import Rule

Said = dict[str, Any]


def evidence(rule: Rule, matched: tuple[str, ...], look: Look) -> Evidence:
    """Return why a rule fired."""
    said = f": {', '.join(matched)}" if matched else ""
    return Evidence(
        reason=f"{rule.description.rstrip('.')}{said}",
        target_process=look.context.target,
        rule=RuleMatch(name=rule.name, file=rule.file, line=rule.line, matched=matched),
        **_CONTEXTS.get(type(look.event), _nothing)(look.event),
    )


def _nothing(_event: Event) -> Said:
    return {}


def _exec(event: ProcessExec) -> Said:
    return {"script_path": event.filename} if event.interpreted else {}


def _open(event: FileOpen) -> Said:
    return _file("Write" if event.changes else None)(event)


def _file(operation: str | None) -> Callable[[Any], Said]:
    return lambda event: {"file_path": event.path, "file_operation": operation}


def _link(event: FileLink) -> Said:
    return {"file_path": event.path, "file_operation": "Symlink" if event.symbolic else "Link"}


def _rename(event: FileRename) -> Said:
    others = () if event.old_path is None else (event.old_path,)
    return {"file_path": event.new_path, "file_operation": "Rename", "related_file_paths": others}


def _name(event: DnsQuery | DnsAnswer) -> Said:
    return {"domain": event.name, "iana_protocol_number": event.protocol}


def _connect(event: NetConnect) -> Said:
    wire = Socket(
        protocol=event.protocol,
        local_address=None,
        local_port=None,
        remote_address=event.remote_address,
        remote_port=event.remote_port,
        cookie=event.cookie,
    )
    return {"socket": wire, "connection_direction": "OUTBOUND"}


def _accept(event: NetAccept) -> Said:
    return {} if event.socket is None else {"socket": event.socket, "connection_direction": "INBOUND"}


def _socket(event: NetListen | FdDup) -> Said:
    return {"socket": event.socket}


def _mount(event: Mount) -> Said:
    return {"mount_source": event.source, "mount_target": event.target, "file_system_type": event.filesystem}


_CONTEXTS: dict[type[Event], Callable[[Any], Said]] = {
    ProcessExec: _exec,
    FileOpen: _open,
    FileUnlink: _file("Delete"),
    FileRename: _rename,
    FileLink: _link,
    FileMode: _file(None),
    FileOwner: _file(None),
    FileTruncate: _file("Write"),
    LibraryMap: lambda event: {"library_path": event.path},
    ModuleLoad: lambda event: {"module_file_path": event.path},
    Mount: _mount,
    NetConnect: _connect,
    NetAccept: _accept,
    NetListen: _socket,
    FdDup: _socket,
    DnsQuery: _name,
    DnsAnswer: _name,
    UnixConnect: lambda event: {"socket_path": event.path},
}
"""What GuardDuty has a member for; of other kinds it has none."""
