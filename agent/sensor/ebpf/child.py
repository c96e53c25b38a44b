"""Talks to the loader child: which Python has bcc, what to load, what came back."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any
from typing import NamedTuple
from typing import Self

from agent.errors import HostUnsupported
from agent.probes.declaration import URING_DISPATCHERS
from agent.probes.declaration import Probe
from agent.probes.header import kind_number
from agent.sensor.ebpf import messages

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
    "prelude_opens.c",
)
_NICE = 10  # of a load that nobody waits for
_ROOT = Path(__file__).resolve().parents[3]
_BOOTSTRAP = (
    "import os, sys; os.dup2(int(sys.argv[2]), 3); sys.path.insert(0, sys.argv[1]);"
    "from agent.sensor.ebpf.loader import main; main()"
)


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
        "defines": {},
        "lifecycle_pages": lifecycle_pages,
        "activity_pages": activity_pages,
        "probes": [_described(probe, directory) for probe in probes],
        "dispatchers": [asdict(hook) for hook in URING_DISPATCHERS] if _by_uring(probes) else [],
        "held": [],
    }


def _by_uring(probes: tuple[Probe, ...]) -> bool:
    hooks = (hook for probe in probes for lane in probe.lanes for hook in lane.hooks)
    return any(hook.target.startswith("uring_calls:") for hook in hooks)


def _described(probe: Probe, directory: Path) -> dict[str, Any]:
    lanes = [{"name": lane.name, "hooks": [asdict(hook) for hook in lane.hooks]} for lane in probe.lanes]
    text = (directory / f"{probe.name}.c").read_text(encoding="utf-8")
    return {"name": probe.name, "kind": kind_number(probe.name), "text": text, "lanes": lanes}


def load(python: str, wanted: Mapping[str, Any], maps: Mapping[str, int] | None = None) -> Loaded:
    """Run the child, on top of `maps` of an earlier load.  Raises HostUnsupported with its reason when it cannot."""
    with Loader(python) as loader:
        return loader.load(wanted, maps or {})


class Loader:
    """A child that answers one request, or is told to stop."""

    def __init__(self, python: str) -> None:
        """Start it under the interpreter `python`."""
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the child
        self._ours, theirs = socket.socketpair()
        with theirs:
            command = [python, "-I", "-c", _BOOTSTRAP, str(_ROOT), str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stderr=self._said, pass_fds=[theirs.fileno()]
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it and let go of everything."""
        self.stop()
        self._process.wait()
        self._ours.close()
        self._said.close()

    @property
    def tgid(self) -> int:
        """Return the pid of the child."""
        return self._process.pid

    def yield_to_others(self) -> None:
        """Let whatever else wants a processor go first."""
        os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICE)

    def stop(self) -> None:
        """End it; a load that waits for its answer then raises."""
        self._process.kill()

    def load(self, wanted: Mapping[str, Any], maps: Mapping[str, int]) -> Loaded:
        """Return what came of the request.  Raises HostUnsupported."""
        try:
            messages.send(self._ours, {**wanted, "maps": list(maps)}, list(maps.values()))
            answer, fds = messages.receive(self._ours, LOAD_TIMEOUT_S)
        except (ConnectionError, EOFError, TimeoutError) as error:
            self._said.seek(0)
            last = self._said.read().decode(errors="replace").strip().splitlines()[-1:] or [type(error).__name__]
            raise HostUnsupported(
                f"the probe loader ended without an answer ({last[0]}): `vedette doctor` says what is missing"
            ) from error
        if "error" in answer:
            raise HostUnsupported(str(answer["error"]))
        return Loaded(answer, fds)
