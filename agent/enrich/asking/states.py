"""What OCI runtimes write below /run while a container exists: there before its first program runs.

runc        ROOT/ID/state.json            (libcontainer/container_linux.go, its State)
crun        ROOT/ID/status                (src/libcrun/status.c) and the bundle's config.json
containerd  TASKS/NAMESPACE/ID/config.json   the OCI configuration that its shim was given

A user's own runtime keeps the same below /run/user/UID; that is looked at for a
container alone whose cgroup or process is that user's, and only files of his count.

Where the bundle is one of containers/storage (podman, cri-o), storage.py goes on.

Blind to: runtimes whose `--root` is elsewhere and not configured; what was removed already.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

import msgspec

from agent.enrich.asking import marks
from agent.enrich.asking import storage
from agent.enrich.asking.documents import document
from agent.enrich.asking.documents import entries
from agent.enrich.asking.said import Question
from agent.enrich.asking.said import Said
from agent.enrich.asking.said import moment_ns
from agent.enrich.asking.said import mounts
from agent.enrich.asking.said import text

NAMESPACES = 32  # of containerd: k8s.io, moby, default, ...
RUN_USER = "/run/user"  # XDG_RUNTIME_DIR of pam_systemd(8)
_USER_SLICE = re.compile(r"/user\.slice/user-(\d{1,10})\.slice/")
_ENGINE_ID = re.compile(r"[0-9a-f]{32,64}")


class _Mount(msgspec.Struct):
    destination: str = ""
    source: str = ""
    type: str | None = None
    device: str | None = None
    options: list[str] | None = None
    flags: int = 0


class _Capabilities(msgspec.Struct, rename={"runcs": "Bounding"}):
    bounding: list[str] | None = None
    runcs: list[str] | None = None


class _Process(msgspec.Struct):
    capabilities: _Capabilities | None = None


class _Linux(msgspec.Struct, rename="camel"):
    cgroups_path: str | None = None
    masked_paths: list[str] | None = None


class _Configuration(msgspec.Struct):
    """config.json of the OCI runtime specification."""

    annotations: dict[str, str] | None = None
    mounts: list[_Mount] | None = None
    process: _Process | None = None
    linux: _Linux | None = None


class _RuncConfig(msgspec.Struct):
    labels: list[str] | None = None
    mounts: list[_Mount] | None = None
    capabilities: _Capabilities | None = None
    mask_paths: list[str] | None = None


class _RuncState(msgspec.Struct):
    id: str
    config: _RuncConfig
    init_process_pid: int | None = None
    created: str | None = None
    cgroup_paths: dict[str, str] | None = None


class _CrunStatus(msgspec.Struct, rename="kebab"):
    pid: int | None = None
    cgroup_path: str | None = None
    bundle: str | None = None
    created: str | None = None


_MS_BIND = 0x1000  # include/uapi/linux/mount.h
_MS_RDONLY = 1


class States:
    """Looks where runtimes keep the state of their containers."""

    def __init__(
        self,
        runc_roots: tuple[str, ...],
        containerd_tasks: tuple[str, ...],
        *,
        rootless: bool,
        run_user: str = RUN_USER,
    ) -> None:
        self._runc_roots = runc_roots
        self._containerd_tasks = containerd_tasks
        self._rootless = rootless
        self._run_user = run_user

    def ask(self, question: Question) -> Said | None:
        """Return what is written about a container.  Raises NoAnswer."""
        for root in self._runc_roots:
            found = _of_oci(f"{root}/{question.id}", question, 0)
            if found is not None:
                return found
        return self._of_containerd(question) or self._of_a_user(question)

    def _of_containerd(self, question: Question) -> Said | None:
        shelves = [f"{tasks}/{name}" for tasks in self._containerd_tasks for name in entries(tasks, NAMESPACES)]
        for shelf in shelves:
            bundle = f"{shelf}/{question.id}"
            if os.path.isdir(bundle):  # noqa: PTH112  # asked of every container, and a Path costs ten times that
                runtime = "docker" if shelf.endswith("/moby") else "containerd"
                return Said(runtime=runtime).then(_configured(bundle, 0))
        return None

    def _of_a_user(self, question: Question) -> Said | None:
        uid = user_of(question)
        if uid is None or not self._rootless:
            return None
        for runtime in ("runc", "crun"):
            found = _of_oci(f"{self._run_user}/{uid}/{runtime}/{question.id}", question, uid)
            if found is not None:
                return found
        return None


def of_bundle(question: Question, bundle: str) -> Said:
    """Return what the bundle of a container that is being made says of it.  Raises NoAnswer."""
    owner = question.uid or 0
    told = _own_name(question).then(_configured(bundle, owner)).then(storage.beside(bundle, question.id, owner))
    an_engines = told.runtime is not None or told.name is None
    return told if an_engines else told.then(Said(runtime=question.runtime))


def user_of(question: Question) -> int | None:
    """Return whose rootless container it may be, None when it is root's."""
    slice_ = _USER_SLICE.match(question.cgroup_path or "")
    uid = int(slice_[1]) if slice_ else question.uid
    return uid or None


def _of_oci(place: str, question: Question, owner: int) -> Said | None:
    return _of_runc(place, question, owner) or _of_crun(place, question, owner)


def _of_runc(place: str, question: Question, owner: int) -> Said | None:
    state = document(f"{place}/state.json", _RuncState, owner)
    if state is None or state.id != question.id or not _is_in(question, (state.cgroup_paths or {}).values()):
        return None
    config = state.config
    written = dict(label.partition("=")[::2] for label in config.labels or ())
    bundle = written.pop("bundle", None)
    linux = _Linux(masked_paths=config.mask_paths)
    told = _told(written, config.mounts, config.capabilities, linux)
    found = _own_name(question).then(told).then(storage.beside(bundle, question.id, owner))
    runtime = "runc" if question.runtime is None and found.runtime is None else None
    return found.then(Said(runtime=runtime, started_at_ns=moment_ns(state.created), pid=state.init_process_pid))


def _of_crun(place: str, question: Question, owner: int) -> Said | None:
    status = document(f"{place}/status", _CrunStatus, owner)
    if status is None or not _is_in(question, [status.cgroup_path or ""]):
        return None
    found = _own_name(question)
    if status.bundle is not None:
        found = found.then(_configured(status.bundle, owner)).then(storage.beside(status.bundle, question.id, owner))
    runtime = "crun" if question.runtime is None and found.runtime is None else None
    return found.then(Said(runtime=runtime, started_at_ns=moment_ns(status.created), pid=status.pid or None))


def _own_name(question: Question) -> Said:
    """Return the id as the name, where somebody chose it: an engine's is a number."""
    return Said(name=None if _ENGINE_ID.fullmatch(question.id) else text(question.id))


def _configured(bundle: str, owner: int) -> Said:
    configuration = document(f"{bundle}/config.json", _Configuration, owner)
    if configuration is None:
        return Said()
    capabilities = configuration.process.capabilities if configuration.process else None
    return _told(configuration.annotations or {}, configuration.mounts, capabilities, configuration.linux or _Linux())


def _told(
    written: dict[str, str], mounted: list[_Mount] | None, capabilities: _Capabilities | None, linux: _Linux
) -> Said:
    kept, trimmed = mounts(
        (mount.destination, mount.source, _is_read_only(mount)) for mount in mounted or () if _is_bind(mount)
    )
    bounding = (capabilities.bounding or capabilities.runcs or []) if capabilities else []
    # What `--privileged` comes to, in docker, podman, containerd and cri-o alike.
    privileged = "CAP_SYS_ADMIN" in bounding and not linux.masked_paths
    return Said(mounts=kept or None, privileged=privileged, trimmed=trimmed).then(marks.said_by(written))


def _is_bind(mount: _Mount) -> bool:
    if not mount.source.startswith("/"):
        return False
    return "bind" in {mount.type, mount.device} or bool({"bind", "rbind"}.intersection(mount.options or ()))


def _is_read_only(mount: _Mount) -> bool:
    return "ro" in (mount.options or ()) or bool(mount.flags & _MS_RDONLY and mount.flags & _MS_BIND)


def _is_in(question: Question, paths: Iterable[str]) -> bool:
    """Tell whether the cgroup that was seen is one of these, or below it; runtimes write it with its mount point."""
    own = [path for path in paths if path]
    if question.cgroup_path is None or not own:
        return True
    place = _outer(question.cgroup_path, question.id)
    return any(path.endswith((question.cgroup_path, place)) for path in own)


def _outer(cgroup_path: str, container_id: str) -> str:
    """Return the path up to the component that has the id."""
    names = cgroup_path.split("/")
    depth = next((number for number, name in enumerate(names) if container_id in name), len(names) - 1)
    return "/".join(names[: depth + 1])
