"""What engines write into the annotations of a container's OCI configuration, and kubelets into its labels.

Keys are those of containerd (pkg/cri/annotations), cri-o (pkg/annotations), podman (libpod/define/annotations.go),
the kubelet (k8s.io/kubernetes/pkg/kubelet/types/labels.go) and the OCI image specification (annotations.md).
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from agent.enrich.asking.said import IMAGE_CHARACTERS
from agent.enrich.asking.said import Said
from agent.enrich.asking.said import labels
from agent.enrich.asking.said import text

_KUBELET = "io.kubernetes."
_CONTAINERD = "io.kubernetes.cri."
_CRIO = "io.kubernetes.cri-o."
_REF_NAME = "org.opencontainers.image.ref.name"
_PODMAN_PRIVILEGED = "io.podman.annotations.privileged"


class _Named(msgspec.Struct):
    name: str | None = None


def pod_of(given: Mapping[str, str]) -> Said:
    """Return the pod that a kubelet's labels name, and the container's name in it."""
    return Said(
        name=text(given.get(f"{_KUBELET}container.name")),
        pod_name=text(given.get(f"{_KUBELET}pod.name")),
        pod_namespace=text(given.get(f"{_KUBELET}pod.namespace")),
        pod_uid=text(given.get(f"{_KUBELET}pod.uid")),
    )


def said_by(given: Mapping[str, str]) -> Said:
    """Return what annotations say, whoever's they are."""
    found = Said(image=text(given.get(_REF_NAME), IMAGE_CHARACTERS)).then(pod_of(given))
    if given.get("io.container.manager") == "libpod":
        privileged = {"TRUE": True, "FALSE": False}.get(given.get(_PODMAN_PRIVILEGED, ""))
        return found.then(Said(runtime="podman", privileged=privileged))
    if f"{_CONTAINERD}container-type" in given:
        return found.then(_containerd(given))
    if f"{_CRIO}ContainerType" in given:
        return found.then(_crio(given))
    return found


def _containerd(given: Mapping[str, str]) -> Said:
    name = given.get(f"{_CONTAINERD}container-name")
    return Said(
        runtime="containerd",
        name=text(name or ("POD" if given[f"{_CONTAINERD}container-type"] == "sandbox" else None)),
        image=text(given.get(f"{_CONTAINERD}image-name"), IMAGE_CHARACTERS),
        pod_name=text(given.get(f"{_CONTAINERD}sandbox-name")),
        pod_namespace=text(given.get(f"{_CONTAINERD}sandbox-namespace")),
        pod_uid=text(given.get(f"{_CONTAINERD}sandbox-uid")),
    )


def _crio(given: Mapping[str, str]) -> Said:
    written = _strings(given.get(f"{_CRIO}Labels"))
    kept, trimmed = labels(written)
    sandbox = given[f"{_CRIO}ContainerType"] == "sandbox"
    own = Said(
        runtime="cri-o",
        name="POD" if sandbox else text(_name(given.get(f"{_CRIO}Metadata"))),
        image=text(given.get(f"{_CRIO}ImageName"), IMAGE_CHARACTERS),
        labels=kept or None,
        trimmed=trimmed,
    )
    return pod_of(written).then(own)


def _strings(raw: str | None) -> dict[str, str]:
    try:
        return msgspec.json.decode(raw or "{}", type=dict[str, str])
    except (msgspec.DecodeError, RecursionError):
        return {}


def _name(raw: str | None) -> str | None:
    try:
        return msgspec.json.decode(raw or "{}", type=_Named).name
    except (msgspec.DecodeError, RecursionError):
        return None
