"""Names and images of podman's and cri-o's containers: containers.json of containers/storage, beside their bundles.

A bundle is STORE/DRIVER-containers/ID/userdata; STORE/DRIVER-containers/containers.json
lists all of the store (containers/storage, containers.go).

Blind to: containers that podman keeps in memory alone (volatile-containers.json, of `--rm`, newer than podman 4.3),
when its run root is not beside.
"""

from __future__ import annotations

import re

import msgspec

from agent.enrich.asking.documents import document
from agent.enrich.asking.said import IMAGE_CHARACTERS
from agent.enrich.asking.said import Said
from agent.enrich.asking.said import digest_of
from agent.enrich.asking.said import text

_BUNDLE = re.compile(r"(/.+-containers)/([0-9a-f]{64})/userdata", re.DOTALL)
_LISTS = ("containers.json", "volatile-containers.json")


class _Stored(msgspec.Struct):
    id: str
    names: list[str] | None = None
    metadata: str | None = None


class _Metadata(msgspec.Struct, rename="kebab"):
    name: str | None = None
    image_name: str | None = None
    image_id: str | None = None
    pod_name: str | None = None
    container_name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    metadata_name: str | None = None


def beside(bundle: str | None, container_id: str, owner: int) -> Said:
    """Return what the store of a bundle says of its container, nothing when it is no such bundle.  Raises NoAnswer."""
    match = _BUNDLE.fullmatch(bundle) if bundle else None
    if match is None or match[2] != container_id:
        return Said()
    lists = (document(f"{match[1]}/{name}", list[_Stored], owner) or [] for name in _LISTS)
    own = (one for stored in lists for one in stored if one.id == container_id)
    one = next(own, None)
    return Said() if one is None else _said(one)


def _said(one: _Stored) -> Said:
    try:
        metadata = msgspec.json.decode(one.metadata or "{}", type=_Metadata)
    except (msgspec.DecodeError, RecursionError):
        metadata = _Metadata()
    name = metadata.metadata_name or metadata.name or next(iter(one.names or ()), None)
    return Said(
        name=text(name),
        image=text(metadata.image_name, IMAGE_CHARACTERS),
        image_digest=digest_of(metadata.image_id),
    )
