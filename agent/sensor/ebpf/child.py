"""Talks to the loader child: which Python has bcc, what to load, what came back."""

from __future__ import annotations

import importlib.util
import json
import select
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any
from typing import NamedTuple

from agent.errors import HostUnsupported
from agent.probes.declaration import URING_DISPATCHERS
from agent.probes.declaration import Probe
from agent.probes.header import kind_number

LOAD_TIMEOUT_S = 60.0  # a cold start inside 128 MB takes 5 s; ten times that on a starved host
SYSTEM_PYTHON = "/usr/bin/python3"  # distributions install bcc for this one
# In the order in which they are joined.
PRELUDE = (
    "prelude.c",
    "prelude_calls.c",
    "prelude_objects.c",
    "prelude_names.c",
    "prelude_uring.c",
    "prelude_targets.c",
    "prelude_packets.c",
)
_ROOT = Path(__file__).resolve().parents[3]
_BOOTSTRAP = (
    "import os, sys; os.dup2(int(sys.argv[2]), 3); sys.path.insert(0, sys.argv[1]);"
    "from agent.sensor.ebpf.loader import main; main()"
)
_MAX_FDS = 250


class Loaded(NamedTuple):
    """What the child handed over; every descriptor is ours to close."""

    answer: dict[str, Any]
    fds: list[int]


def sources_directory() -> Path:
    """Return where the C files are: beside the package in a checkout, inside it when installed."""
    checkout = _ROOT / "ebpf"
    return checkout if (checkout / "prelude.c").exists() else _ROOT / "agent" / "_ebpf"


def interpreter_with_bcc(configured: str | None) -> str:
    """Return a Python that can import bcc.  Raises HostUnsupported naming the package to install."""
    candidates = [configured] if configured else [sys.executable, SYSTEM_PYTHON]
    for candidate in candidates:
        if _has_bcc(candidate):
            return candidate
    raise HostUnsupported(
        f"bcc for Python was not found ({', '.join(candidates)}): install python3-bpfcc (Debian, Ubuntu) or "
        "bcc (Amazon Linux, Fedora), or name another interpreter in [sensor] python"
    )


def _has_bcc(python: str) -> bool:
    if python == sys.executable:
        return importlib.util.find_spec("bcc") is not None
    question = [python, "-I", "-c", "import importlib.util, sys; sys.exit(not importlib.util.find_spec('bcc'))"]
    try:
        return subprocess.run(question, check=False, capture_output=True, timeout=LOAD_TIMEOUT_S).returncode == 0
    except OSError:
        return False


def request(probes: tuple[Probe, ...], lifecycle_pages: int, activity_pages: int) -> dict[str, Any]:
    """Return what the child is asked to load."""
    directory = sources_directory()
    return {
        "prelude": {name: (directory / name).read_text(encoding="utf-8") for name in PRELUDE},
        "lifecycle_pages": lifecycle_pages,
        "activity_pages": activity_pages,
        "probes": [_described(probe, directory) for probe in probes],
        "dispatchers": [asdict(hook) for hook in URING_DISPATCHERS] if _by_uring(probes) else [],
    }


def _by_uring(probes: tuple[Probe, ...]) -> bool:
    hooks = (hook for probe in probes for lane in probe.lanes for hook in lane.hooks)
    return any(hook.target.startswith("uring_calls:") for hook in hooks)


def _described(probe: Probe, directory: Path) -> dict[str, Any]:
    lanes = [{"name": lane.name, "hooks": [asdict(hook) for hook in lane.hooks]} for lane in probe.lanes]
    text = (directory / f"{probe.name}.c").read_text(encoding="utf-8")
    return {"name": probe.name, "kind": kind_number(probe.name), "text": text, "lanes": lanes}


def load(python: str, wanted: dict[str, Any]) -> Loaded:
    """Run the child.  Raises HostUnsupported with its reason when it cannot load anything."""
    ours, theirs = socket.socketpair()
    with ours, theirs, tempfile.TemporaryFile() as said:
        command = [python, "-I", "-c", _BOOTSTRAP, str(_ROOT), str(theirs.fileno())]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=said, pass_fds=[theirs.fileno()])
        theirs.close()
        try:
            return _converse(ours, json.dumps(wanted).encode())
        except (ConnectionError, EOFError, TimeoutError) as error:
            said.seek(0)
            last = said.read().decode(errors="replace").strip().splitlines()[-1:] or [type(error).__name__]
            raise HostUnsupported(
                f"the probe loader ended without an answer ({last[0]}): `vedette doctor` says what is missing"
            ) from error
        finally:
            process.kill()
            process.wait()


def _converse(ours: socket.socket, wanted: bytes) -> Loaded:
    deadline = time.monotonic() + LOAD_TIMEOUT_S
    ours.sendall(len(wanted).to_bytes(4, "little") + wanted)
    answer, count = _answer(ours, deadline)
    fds: list[int] = []
    while len(fds) < count:
        _wait(ours, deadline)
        _, received, _, _ = socket.recv_fds(ours, 1, _MAX_FDS)
        if not received:
            raise EOFError
        fds += received
    if "error" in answer:
        raise HostUnsupported(str(answer["error"]))
    return Loaded(answer, fds)


def _answer(ours: socket.socket, deadline: float) -> tuple[dict[str, Any], int]:
    head = _exactly(ours, 8, deadline)
    size, fds = int.from_bytes(head[:4], "little"), int.from_bytes(head[4:], "little")
    return json.loads(_exactly(ours, size, deadline)), fds


def _exactly(ours: socket.socket, size: int, deadline: float) -> bytes:
    data = b""
    while len(data) < size:
        _wait(ours, deadline)
        more = ours.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def _wait(ours: socket.socket, deadline: float) -> None:
    left = deadline - time.monotonic()
    if left <= 0 or not select.select([ours], [], [], left)[0]:
        raise TimeoutError
