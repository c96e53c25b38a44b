"""Crashes of what writes files, from one recording of its writes: every state that a kill or a power cut could leave.

strace writes down each change of each file in a directory, with its bytes.  Any beginning of that is what the kernel
has after a kill at that moment.  After a power cut the disk has what was synced, and of what was not any part.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterable
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CALLS = "openat,pwrite64,write,ftruncate,fdatasync,fsync,unlink,rename"
_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_ON = re.compile(r"^\d+<([^>]*)>")


class Change(NamedTuple):
    """One call that changes a file, or syncs it."""

    call: str
    path: str
    data: bytes = b""
    offset: int = 0


def recorded(command: list[str], directory: Path, log: Path) -> list[Change]:
    """Run a command under strace; return what it did to the files of a directory, in order."""
    strace = ["strace", "-f", "-y", "-xx", "-s", "1000000", "-o", str(log), "-e", f"trace={CALLS}"]
    subprocess.run([*strace, *command], check=True, timeout=120)
    found = []
    ends: dict[str, int] = {}
    for line in log.read_text().splitlines():
        change = _change(line, ends)
        if change is not None and Path(change.path).parent == directory:
            found.append(change)
    return found


def _change(line: str, ends: dict[str, int]) -> Change | None:
    """Return a line as a change; `ends`: how far each file was written by plain writes."""
    match = _LINE.match(line)
    if match is None or int(match[3]) < 0:
        return None
    call, arguments, result = match[1], match[2], int(match[3])
    texts = [_unhexed(text) for text in _TEXT.findall(arguments)]
    if call in {"unlink", "rename"}:
        return Change(call, texts[0].decode(), texts[-1])
    if call == "openat":
        return Change("create", texts[0].decode()) if "O_CREAT" in arguments else None
    on = _ON.match(arguments)
    if on is None:
        return None
    path = _unhexed(on[1]).decode() if on[1].startswith("\\x") else on[1]
    if call == "write":
        offset = ends.get(path, 0)
        ends[path] = offset + result
        return Change("pwrite64", path, texts[0][:result], offset)
    if call == "pwrite64":
        return Change(call, path, texts[0][:result], int(arguments.rpartition(", ")[2]))
    return Change(call, path, b"", int(arguments.rpartition(", ")[2]) if call == "ftruncate" else 0)


def _unhexed(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def rebuild(changes: Iterable[Change], directory: Path) -> None:
    """Make the files as these changes leave them, from an empty directory."""
    files: dict[str, bytearray] = {}
    for change in changes:
        name = Path(change.path).name
        match change.call:
            case "create":
                files.setdefault(name, bytearray())
            case "pwrite64":
                content = files.setdefault(name, bytearray())
                content.extend(bytes(max(0, change.offset + len(change.data) - len(content))))
                content[change.offset : change.offset + len(change.data)] = change.data
            case "ftruncate":
                content = files.setdefault(name, bytearray())
                del content[change.offset :]
                content.extend(bytes(change.offset - len(content)))
            case "unlink":
                files.pop(name, None)
            case "rename":
                files[Path(change.data.decode()).name] = files.pop(name)
    directory.mkdir(mode=0o700)
    for name, content in files.items():
        path = directory / name
        path.write_bytes(content)
        path.chmod(0o600)


def cut_off(changes: list[Change], chance: random.Random) -> Iterator[Change]:
    """Yield what the disk has of these changes when the power goes: of what no sync came behind, some."""
    synced = {change.path: number for number, change in enumerate(changes) if change.call in {"fdatasync", "fsync"}}
    share = chance.choice([0.0, 0.5, 0.9])
    for number, change in enumerate(changes):
        kept = change.call != "pwrite64" or number < synced.get(change.path, -1) or chance.random() < share
        if kept:
            yield change
