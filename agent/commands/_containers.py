"""The container runtimes of this host: whom the settings say to ask, and who answers."""

from __future__ import annotations

from agent.commands._check import Check
from agent.containing import ContainersConfig
from agent.enrich.asking.sources import Places
from agent.enrich.asking.sources import answering
from agent.terminal import escape

_MS_PER_S = 1_000


def places(settings: ContainersConfig) -> Places | None:
    """Return where runtimes are, None when nobody is to be asked."""
    if settings.ask == "none":
        return None
    sockets = settings.ask == "all"
    return Places(
        cri_sockets=tuple(map(str, settings.cri_sockets)) if sockets else (),
        docker_sockets=tuple(map(str, settings.docker_sockets)) if sockets else (),
        podman_sockets=tuple(map(str, settings.podman_sockets)) if sockets else (),
        runc_roots=tuple(map(str, settings.runc_roots)),
        containerd_tasks=tuple(map(str, settings.containerd_tasks)),
        rootless=settings.rootless == "yes",
        timeout_s=settings.ask_timeout_ms / _MS_PER_S,
    )


def check(settings: ContainersConfig) -> Check:
    """Return which runtimes of the settings say what their containers are."""
    asked = places(settings)
    if asked is None:
        return Check(ok=None, detail="nobody is asked")
    found = answering(asked)
    there = [f"{one.path}: {escape(one.state)}" for one in found if one.ok is not None]
    silent = [one.path for one in found if one.ok is False]
    advice = f"{', '.join(silent)}: not answering; findings in its containers say what its files tell"
    detail = "; ".join(there) or "no runtime here"
    return Check(ok=not silent if there else None, detail=detail, advice=advice if silent else None)
