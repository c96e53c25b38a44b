"""What `vedette doctor` says of the certificate that an agent asked for."""

from __future__ import annotations

import time
from pathlib import Path

from agent.commands._check import Check
from agent.enrol.identity import Folder
from agent.enrol.identity import this_machine
from agent.enrol.keeper import Status
from agent.enrol.keeper import due_s
from agent.enrol.keeper import status
from agent.errors import StateError

_DAY_S = 86_400


def check(directory: Path, host_id: str) -> Check:
    """Return how the certificate in a directory is; nothing to complain of where none was asked for."""
    folder = Folder(directory)
    said = status(folder)
    try:
        found = folder.read()
    except StateError as exc:
        return Check(ok=None if isinstance(exc.__cause__, PermissionError) else False, detail=str(exc))
    if found is None:
        return _absent(said)
    copied = found.foreign_to(this_machine(host_id))
    if copied is not None:
        return Check(ok=False, detail=f"not this machine's: {copied}", advice="start the agent: it asks for its own")
    now_s = time.time_ns() / 1e9
    days = (found.not_after_s - now_s) / _DAY_S
    detail = f"{days:.1f} days, for {found.collector}"
    if days < 0:
        return Check(ok=False, detail=f"ended {-days:.1f} days ago{_why(said)}", advice="docs/enrolment.md: join anew")
    if now_s > due_s(found) and said is not None and not said.done:
        return Check(ok=False, detail=f"{detail}; not renewed{_why(said)}", advice="docs/network.md: no connection")
    return Check(ok=True, detail=detail)


def _absent(said: Status | None) -> Check:
    if said is None:
        return Check(ok=None, detail="none was asked for")
    return Check(ok=False, detail=f"none{_why(said)}", advice="docs/enrolment.md says what a host needs to join")


def _why(said: Status | None) -> str:
    return "" if said is None or said.done else f": {said.text}"
