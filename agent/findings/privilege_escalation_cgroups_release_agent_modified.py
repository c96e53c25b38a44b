"""A process in a container opened the release agent of a cgroup hierarchy for writing, or set one.

What stands in that file of cgroup v1 the kernel runs on the host, as root and outside of any container, as soon as a
cgroup is empty. The file is known by its file system: wherever it is mounted, and under which name.

Noise: none known. Writing it takes privileges of the host, which systemd in a container does without.
Blind to: an open that is refused (a read-only mount, no right); an agent that is given as an option of mount(2), which
ContainerMountsHostDirectory tells as a mount of cgroup v1.
"""

from __future__ import annotations

from agent.findings._base import FindingType
from agent.findings._examples import file_open
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import mount
from agent.findings._examples import on_host
from agent.findings._examples import silent
from agent.model import Context
from agent.model import Evidence
from agent.model import FileOpen
from agent.model import Mount
from agent.model import Severity

NAME = "PrivilegeEscalation:Runtime/CGroupsReleaseAgentModified"
CGROUP_SUPER_MAGIC = 0x27E0EB  # include/uapi/linux/magic.h: cgroup v1
FILE = "release_agent"


def match(event: FileOpen | Mount, context: Context) -> Evidence | None:
    """Return the file that was opened, or the agent that was set by fsconfig."""
    if context.container is None:
        return None
    path, did = _set(event) if isinstance(event, Mount) else _opened(event)
    if path is None:
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(reason=f"a process in a container {did} {path}", release_agent_path=path, result=event.result)


def _opened(event: FileOpen) -> tuple[str | None, str]:
    """Return what was opened: where another thread took the descriptor away, by what the caller wrote."""
    if event.magic_raw == CGROUP_SUPER_MAGIC:
        return event.path, "opened for writing"
    hidden = "fd_raced" in event.flags and (event.user_path or "").rpartition("/")[2] == FILE
    return (event.user_path if hidden and event.changes else None), "hid that it opened for writing"


def _set(event: Mount) -> tuple[str | None, str]:
    is_agent = event.operation == "fsconfig" and event.key == FILE
    return (event.value if is_agent else None), "set as the release agent of a hierarchy of cgroups"


_PATH = "/sys/fs/cgroup/rdma/release_agent"
_AGENT = mount(operation="fsconfig", key=FILE, value="/x", source=None, target=None, filesystem="cgroup", flags_raw=1)

FINDING: FindingType[FileOpen | Mount] = FindingType(
    name=NAME,
    severity=Severity.HIGH,
    attack="T1611",
    title="{process} modified the release agent of a cgroup {place}",
    on=(FileOpen, Mount),
    match=match,
    examples=(
        fires(
            "in a container",
            file_open(_PATH, sensitive=True, magic_raw=CGROUP_SUPER_MAGIC),
            in_container(),
            shows={
                "release_agent_path": _PATH,
                "reason": f"a process in a container opened for writing {_PATH}",
            },
        ),
        fires(
            "mounted under another name",
            file_open("/tmp/x", sensitive=True, magic_raw=CGROUP_SUPER_MAGIC),  # noqa: S108  # a path in an example
            in_container(),
        ),
        fires(
            "hidden by another thread",
            file_open("/tmp/x", user_path=_PATH, flags=("fd_shared", "fd_raced")),  # noqa: S108  # as above
            in_container(),
            shows={"release_agent_path": _PATH},
        ),
        fires(
            "hidden by another thread, by its name alone",
            file_open("…", user_path=FILE, flags=("fd_raced",)),
            in_container(),
        ),
        fires(
            "set when the hierarchy is made",
            _AGENT,
            in_container(),
            shows={
                "release_agent_path": "/x",
                "reason": "a process in a container set as the release agent of a hierarchy of cgroups /x",
            },
        ),
        silent("on the host", file_open(_PATH, sensitive=True, magic_raw=CGROUP_SUPER_MAGIC), on_host()),
        silent("set on the host", _AGENT, on_host()),
        silent("a file of this name elsewhere", file_open("/tmp/release_agent"), in_container()),  # noqa: S108  # as above
        silent("a file of another special file system", file_open("/x/mem", magic_raw=0x9FA0), in_container()),
        silent(
            "where a descriptor may be shared",
            file_open("/x", user_path=_PATH, flags=("fd_shared",)),
            in_container(),
        ),
        silent("another file, hidden", file_open("…", user_path="/x", flags=("fd_raced",)), in_container()),
        silent("a descriptor that is taken away", file_open("…", flags=("fd_raced",)), in_container()),
        silent(
            "a read that is hidden",
            file_open("…", user_path=_PATH, flags=("fd_raced",), flags_raw=0),
            in_container(),
        ),
        silent(
            "another option",
            mount(operation="fsconfig", key="name", value="x", source=None, target=None, filesystem="cgroup"),
            in_container(),
        ),
        silent("another call", mount(operation="fsopen", key=FILE, value="/x"), in_container()),
    ),
)
