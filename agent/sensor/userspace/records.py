"""Messages of the children become records of the probes, as the decoder knows them.  In the agent.

A message of a child is what /proc said, raw: text that any process may have had a
part in.  What does not make sense gives no record, and is counted.

Blind to: the uid of a process after its exec, until its next: setuid(2) is not seen.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import Any

from agent.model import NS_PER_TICK
from agent.probes import header
from agent.probes import library_map
from agent.probes import process_exec
from agent.probes import process_exit
from agent.probes import process_fork
from agent.probes.layout import Layout
from agent.sensor.existing.cgroups import Cgroups
from agent.sensor.userspace import file_records
from agent.sensor.userspace import network_records

ACTORS = 16_384  # processes that are remembered: as many as are traced
ENDED = 512  # of them that ended: half a second of a loop that starts 1,000 programs a second; a kilobyte each
_STAT_PARENT, _STAT_STARTED = 1, 19  # fields 4 and 22 of /proc/PID/stat, counted from behind the name
_NAME_BYTES = 512
_INTERPRETER_WORDS = 3  # the interpreter, its one argument, the script (fs/binfmt_script.c)


class Records:
    """Makes records, and remembers who the processes are that they are about."""

    def __init__(self, cgroups: Cgroups) -> None:
        """`cgroups` knows the numbers of the cgroups that can be seen."""
        self._cgroups = cgroups
        self._actors: OrderedDict[int, dict[str, int]] = OrderedDict()
        self._made = {"exec": self._exec, "fork": self._fork, "exit": self._exit, "seen": self._seen}
        self._made["library"] = self._library
        self._made["open"] = self._open
        self._made |= dict.fromkeys(network_records.KINDS, self._socket)
        self._made["dup"] = self._dup
        self._inherited: OrderedDict[int, tuple[int, ...]] = OrderedDict()
        """Inodes of the sockets that a program was started with on 0-2, by process."""
        self._ended: dict[int, None] = {}

    def of(self, message: dict[str, Any]) -> bytes | None:
        """Return the record of a message, None for one that only says who somebody is.

        Raises ValueError, LookupError or TypeError when it makes no sense.
        """
        return self._made[message["kind"]](message)

    def actor(self, tgid: int) -> dict[str, int]:
        """Return what a header says of a process; nothing when it was never heard of."""
        return self._actors.get(tgid, {})

    def _exec(self, message: dict[str, Any]) -> bytes:
        facts = self._learn(message)
        texts, ends = _texts(message)
        self._inherited.pop(message["tgid"], None)
        if message["sockets"]:
            self._inherited[message["tgid"]] = tuple(inode for inode, _ends, _cookie in message["sockets"])
        if len(self._inherited) > ACTORS:
            self._inherited.popitem(last=False)
        parent = self.actor(_parent(message["stat"]))
        flags = (header.FLAG_SAMPLED if message.get("sampled") else 0) | (
            0 if message.get("exe") else header.FLAG_READ_ERROR
        )
        record = process_exec.RECORD.pack(
            header=bytes(header.HEADER.size),
            file=file_records.file(message),
            stdio=_stdio(message),
            parent_tgid=parent.get("tgid", 0),
            parent_started_ns=parent.get("started_ns", 0),
            args_bytes=message["args_bytes"],
            interpreted=int(_is_script(message)),
            comm=_name(message["stat"]),
            cwd_mnt_ns=facts["mnt_ns"],
            **ends,
        )
        body = record[header.HEADER.size : process_exec.RECORD.fixed_size] + texts
        return self._head("process_exec", message, len(body), flags) + body

    def _fork(self, message: dict[str, Any]) -> bytes:
        parent, child = self.actor(message["tgid"]), message["child"]
        facts = parent | _identity(message, child)
        self._remember(child, facts)
        if message["tgid"] in self._inherited:
            self._inherited[child] = self._inherited[message["tgid"]]
        return self._whole(
            "process_fork",
            process_fork.RECORD,
            message,
            child_tgid=child,
            child_started_ns=facts["started_ns"],
            child_ns_tgid=facts["ns_tgid"],
            parent_tgid=parent.get("tgid", 0),
            parent_started_ns=parent.get("started_ns", 0),
        )

    def _exit(self, message: dict[str, Any]) -> bytes | None:
        if not self.actor(message["tgid"]):
            return None
        record = self._whole("process_exit", process_exit.RECORD, message, exit_code=message["status"] or 0)
        self._bury(message["tgid"])
        return record

    def _seen(self, message: dict[str, Any]) -> None:
        self._learn(message)

    def _library(self, message: dict[str, Any]) -> bytes:
        self._learn(message)
        body = library_map.RECORD.pack(header=b"", file=file_records.file(message))
        body = (
            body[header.HEADER.size : library_map.RECORD.fixed_size]
            + file_records.names_of(message["exe"])[:_NAME_BYTES]
        )
        return self._head("library_map", message, len(body), header.FLAG_SAMPLED) + body

    def _open(self, message: dict[str, Any]) -> bytes:
        if "stat" in message:
            self._learn(message)
        body = file_records.opened(message)
        return self._head("file_open", message, len(body), header.FLAG_SAMPLED) + body

    def _dup(self, message: dict[str, Any]) -> bytes | None:
        """Return that a socket came onto 0-2, unless it was there at the exec."""
        if message["inode"] in self._inherited.get(message["tgid"], ()):
            return None
        return self._socket(message)

    def _socket(self, message: dict[str, Any]) -> bytes:
        if "stat" in message:
            self._learn(message)
        kind, body, flags = network_records.body(message)
        return self._head(kind, message, len(body), flags) + body

    def _whole(self, kind: str, layout: Layout, message: dict[str, Any], **fields: int) -> bytes:
        """Return a record of a fixed size."""
        body = layout.pack(header=b"", **fields)[header.HEADER.size :]
        return self._head(kind, message, len(body)) + body

    def _head(self, kind: str, message: dict[str, Any], size: int, flags: int = 0) -> bytes:
        facts = self.actor(message["tgid"]) or {"mnt_ns": message.get("place", 0)}
        return header.HEADER.pack(
            **facts | {"tid": message.get("tid") or facts.get("tgid", 0)},
            time_ns=message["time_ns"],
            kind=header.kind_number(kind),
            len=header.HEADER.size + size,
            flags=flags,
        )

    def _learn(self, message: dict[str, Any]) -> dict[str, int]:
        facts = _identity(message, message["tgid"])
        facts |= {"mnt_ns": message["mnt_ns"], "pid_ns": message["pid_ns"]}
        facts["cgroup_id"] = self._cgroups.id_of(message["cgroup"])
        self._remember(message["tgid"], facts)
        return facts

    def _bury(self, tgid: int) -> None:
        """Forget a process that ended, a little later: the observer may tell of it yet."""
        self._ended[tgid] = None
        if len(self._ended) > ENDED:
            oldest = next(iter(self._ended))
            del self._ended[oldest]
            self._actors.pop(oldest, None)
            self._inherited.pop(oldest, None)

    def _remember(self, tgid: int, facts: dict[str, int]) -> None:
        self._ended.pop(tgid, None)
        self._actors[tgid] = facts
        self._actors.move_to_end(tgid)
        if len(self._actors) > ACTORS:
            self._actors.popitem(last=False)


def _identity(message: dict[str, Any], tgid: int) -> dict[str, int]:
    """Return the start, the numbers and the users that stat and status say."""
    status = dict(line.partition(b":")[::2] for line in message["status"].splitlines())
    uid, euid = map(int, status[b"Uid"].split()[:2])
    gid, egid = map(int, status[b"Gid"].split()[:2])
    return {
        "tgid": tgid,
        "started_ns": int(_fields(message["stat"])[_STAT_STARTED]) * NS_PER_TICK,
        "ns_tgid": int(status[b"NSpid"].split()[-1]),
        "uid": uid,
        "euid": euid,
        "gid": gid,
        "egid": egid,
    }


def _fields(stat: bytes) -> list[bytes]:
    return stat.rpartition(b")")[2].split()


def _parent(stat: bytes) -> int:
    return int(_fields(stat)[_STAT_PARENT])


def _name(stat: bytes) -> bytes:
    return stat.partition(b"(")[2].rpartition(b")")[0][:15]


def _texts(message: dict[str, Any]) -> tuple[bytes, dict[str, int]]:
    """Return the variable part of an exec, and where its sections end."""
    sections = {
        "path_end": file_records.names_of(message.get("exe", b"")),
        "cwd_end": file_records.names_of(message["cwd"]),
        "cgroup_end": file_records.names_of(_cgroup_path(message["cgroup"])),
        "filename_end": message["filename"][: _NAME_BYTES - 1] + b"\0",
        "args_end": message["args"],
    }
    ends, texts = {}, b""
    for name, text in sections.items():
        texts += text
        ends[name] = process_exec.RECORD.offset("data") + len(texts)
    return texts + message["environment"], ends


def _cgroup_path(text: bytes) -> bytes:
    """Return the path in the hierarchy that says most: the unified one, else that of the pids controller."""
    paths = dict(line.split(b":", 2)[1:] for line in text.splitlines() if line.count(b":") > 1)
    unified = paths.get(b"", b"/")
    pids = next((path for names, path in paths.items() if b"pids" in names.split(b",")), b"/")
    return pids if unified == b"/" else unified


def _is_script(message: dict[str, Any]) -> bool:
    """Tell whether the kernel put an interpreter before what was asked for."""
    words = message["args"].split(b"\0")[:_INTERPRETER_WORDS]
    name = message["filename"]
    return name in words[1:] and words[0] != name and not message.get("exe", b"").endswith(name)


def _stdio(message: dict[str, Any]) -> bytes:
    sockets = {inode: _socket(ends, cookie) for inode, ends, cookie in message["sockets"]}
    made = [bytes(process_exec.STDIO.size)] * 3
    for fd, mode, inode, rdev in message["stdio"]:
        made[fd] = process_exec.STDIO.pack(
            inode=inode,
            mode_raw=mode,
            rdev=os.major(rdev) << 20 | os.minor(rdev),
            socket=sockets.get(inode, b""),
        )
    return b"".join(made)


def _socket(ends: tuple[int, int, bytes, int, bytes, int], cookie: int) -> bytes:
    return network_records.socket_info({"ends": ends, "cookie": cookie})
