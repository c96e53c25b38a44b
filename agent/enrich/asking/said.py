"""What is asked, and what comes back: bounded text, whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple
from typing import Protocol

import msgspec

from agent.errors import PeerError
from agent.model import Label
from agent.model import VolumeMount

ANSWER_BYTES = 4 * 1024 * 1024  # of a file or a reply: gRPC's own limit; a pod's annotations are 256 KiB at most
NAME_CHARACTERS = 256  # docker, podman and Kubernetes allow 255 at most
IMAGE_CHARACTERS = 512  # a reference has 255 for its name, 128 for its tag and 71 for its digest
PATH_CHARACTERS = 512
LABELS = 32  # a pod of Kubernetes has some ten, an image of a vendor twenty
LABEL_CHARACTERS = 256  # a value in Kubernetes has 63
LABELS_CHARACTERS = 2_048  # all together
MOUNTS = 32
MOUNTS_CHARACTERS = 4_096
_NS_PER_S = 1_000_000_000
_DIGEST = re.compile(r"(?:.*@)?(?:sha256:)?([0-9a-f]{64})", re.DOTALL)
_KUBELET_VOLUME = re.compile(r".*/pods/[^/]+/volume(?:s|-subpaths)/(?:kubernetes\.io~[^/]+/)?([^/]+).*", re.DOTALL)


class Question(NamedTuple):
    """A container that was seen for the first time."""

    id: str
    runtime: str | None
    """As in `Container.runtime`."""
    cgroup_path: str | None = None
    """Of a process in it."""
    uid: int | None = None
    """Of that process, on the host."""


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody says of a container, already bounded; None is what he does not say."""

    runtime: str | None = None
    name: str | None = None
    image: str | None = None
    image_digest: str | None = None
    labels: tuple[Label, ...] | None = None
    mounts: tuple[VolumeMount, ...] | None = None
    privileged: bool | None = None
    started_at_ns: int | None = None
    pod_name: str | None = None
    pod_namespace: str | None = None
    pod_uid: str | None = None
    pid: int | None = None
    """Of its first process, on the host; None also when there is none any more."""
    trimmed: bool = False

    def then(self, later: Said) -> Said:
        """Return both together; where both speak the later one counts."""
        given = {name: value for name in later.__struct_fields__ if (value := getattr(later, name)) is not None}
        return msgspec.structs.replace(self, **given | {"trimmed": self.trimmed or later.trimmed})

    @property
    def names_it(self) -> bool:
        """Tell whether it says more than that the container exists."""
        return self.name is not None or self.image is not None or self.pod_name is not None


class NoAnswer(PeerError):
    """A runtime did not answer, in time or at all, or with something else than was asked."""


class TooLarge(NoAnswer):
    """An answer larger than ANSWER_BYTES."""


class Teller(Protocol):
    """Somebody who may know containers."""

    def ask(self, question: Question) -> Said | None:
        """Return what it says, None when it knows no such container.  Raises NoAnswer."""


def text(value: str | None, limit: int = NAME_CHARACTERS) -> str | None:
    """Return text cut to its limit, None for the empty one."""
    return value[:limit] if value else None


def digest_of(reference: str | None) -> str | None:
    """Return `sha256:...` of `name@sha256:...`, `sha256:...` or 64 digits; None of anything else."""
    found = _DIGEST.fullmatch(reference[-IMAGE_CHARACTERS:]) if reference else None
    return f"sha256:{found[1]}" if found else None


def labels(given: Mapping[str, str]) -> tuple[tuple[Label, ...], bool]:
    """Return labels in order of their keys, and whether some were cut; the shortest ones find room first."""
    kept: list[Label] = []
    room = LABELS_CHARACTERS
    trimmed = len(given) > LABELS
    for key, value in sorted(given.items(), key=lambda item: (len(item[0]) + len(item[1]), item))[:LABELS]:
        short = Label(key=key[:LABEL_CHARACTERS], value=value[:LABEL_CHARACTERS])
        trimmed = trimmed or (short.key, short.value) != (key, value)
        room -= len(short.key) + len(short.value)
        if room < 0:
            trimmed = True
            break
        kept.append(short)
    return tuple(sorted(kept, key=lambda label: label.key)), trimmed


def mounts(given: Iterable[tuple[str, str, bool]]) -> tuple[tuple[VolumeMount, ...], bool]:
    """Return what is mounted from the host, of (place in the container, path on the host, read-only)."""
    kept: list[VolumeMount] = []
    room = MOUNTS_CHARACTERS
    trimmed = False
    for mount_path, host_path, read_only in given:
        volume = _KUBELET_VOLUME.fullmatch(host_path[:PATH_CHARACTERS])
        short = VolumeMount(
            mount_path=mount_path[:PATH_CHARACTERS],
            host_path=host_path[:PATH_CHARACTERS] or None,
            name=volume[1] if volume else None,
            read_only=read_only,
        )
        trimmed = trimmed or len(mount_path) > PATH_CHARACTERS or len(host_path) > PATH_CHARACTERS
        room -= len(mount_path) + len(host_path)
        if room < 0 or len(kept) == MOUNTS:
            return tuple(kept), True
        kept.append(short)
    return tuple(kept), trimmed


def moment_ns(stamp: str | None) -> int | None:
    """Return Unix nanoseconds of RFC 3339 text; None when it is none, or before 1970 as Go's zero time is."""
    if not stamp:
        return None
    try:
        seconds = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", stamp[:64])).timestamp()
    except ValueError:
        return None
    return int(seconds * _NS_PER_S) if seconds > 0 else None
