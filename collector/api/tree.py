"""The processes around a finding: ancestors as the finding has them, descendants as the events tell.

Blind to: what started before the agent watched, and what was never delivered.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from collector import query
from collector.query import Filters

GENERATIONS = 3  # below the process
NODES = 500
EVENTS = 5_000  # of one generation
_AFTER_NS = 3_600 * 1_000_000_000  # so long after it was last seen; what it starts later is another story
_BEFORE_NS = 60 * 1_000_000_000  # clocks of agents step
_KINDS = ("process_exec", "process_fork", "process_exit")
_NS_PER_S = 1_000_000_000


class Node(msgspec.Struct, rename="camel", omit_defaults=True):
    """A process."""

    uuid: str
    parent_uuid: str | None = None
    pid: int | None = None
    name: str | None = None
    path: str | None = None
    args: list[str] | None = None
    """Of its latest exec."""
    at_ns: int | None = None
    """When something was first told of it."""
    exited: bool = False


class Tree(msgspec.Struct, frozen=True, rename="camel"):
    """A finding's process, whence it came and what it started."""

    process: str | None
    """Its uuid."""
    ancestors: list[Node]
    """Parent first."""
    descendants: list[Node]
    """The process itself first."""
    cut: bool
    """Whether there were more than are shown."""


def around(state_dir: Path, finding: dict[str, Any]) -> Tree:
    """Return the tree around a finding in GuardDuty's shape. Raises StateError."""
    process = finding["service"]["runtimeDetails"]["process"]
    lineage = [_of_finding(one) for one in process.get("lineage", [])]
    own = _of_finding(process)
    if not own.uuid:
        return Tree(None, lineage, [own], cut=False)
    window = _window(finding, process)
    nodes, generation, cut = {own.uuid: own}, [own.uuid], False
    for _ in range(GENERATIONS):
        known = set(nodes)
        rows = list(query.events(state_dir, replace(window, processes=tuple(generation))))
        for row in rows:
            _tell(nodes, row, generation)
        generation = [uuid for uuid in nodes if uuid not in known][:NODES]
        cut = cut or len(rows) >= EVENTS or len(nodes) > NODES
        if cut or not generation:
            break
    return Tree(own.uuid, lineage, list(nodes.values())[:NODES], cut=cut)


def _tell(nodes: dict[str, Node], row: dict[str, Any], generation: list[str]) -> None:
    """Add what an event tells of a process of this generation, or of a child of one."""
    actor = row.get("actor", {})
    uuid = actor.get("uuid")
    if not uuid or (uuid not in nodes and actor.get("parent_uuid") not in generation):
        return
    node = nodes.setdefault(uuid, Node(uuid, actor.get("parent_uuid"), actor.get("tgid"), at_ns=row["at_ns"]))
    node.parent_uuid = node.parent_uuid or actor.get("parent_uuid")
    node.path, node.name = actor.get("path") or node.path, actor.get("name") or node.name
    if row["kind"] == "process_exec":
        told = row["process_exec"]
        node.path, node.args = told.get("path") or node.path, told.get("args")
    node.exited = node.exited or row["kind"] == "process_exit"


def _window(finding: dict[str, Any], process: dict[str, Any]) -> Filters:
    """Return which events may tell of it."""
    additional = json.loads(finding["service"]["additionalInfo"]["value"])
    host = additional.get("agentDetails", {}).get("agentId")
    first, last = (
        int(datetime.fromisoformat(finding["service"][name]).timestamp()) * _NS_PER_S
        for name in ("eventFirstSeen", "eventLastSeen")
    )
    started = int(process.get("startTime", 0)) * _NS_PER_S or first
    return Filters(
        kinds=_KINDS,
        hosts=(host,),
        since_at_ns=max(min(started, first) - _BEFORE_NS, 0),
        until_at_ns=last + _AFTER_NS,
        limit=EVENTS,
    )


def _of_finding(process: dict[str, Any]) -> Node:
    return Node(
        process.get("uuid", ""),
        process.get("parentUuid"),
        process.get("pid"),
        process.get("name"),
        process.get("executablePath"),
        at_ns=int(process["startTime"] * _NS_PER_S) if process.get("startTime") else None,
    )
