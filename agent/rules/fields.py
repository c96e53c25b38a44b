"""What a rule may ask of an event: each field by its name, how to get it, and what it holds.

Nothing is listed here by hand: the fields are those of the event's class and of the
nouns around it (agent/model), so that a new event or field can be asked for at once.
A process has the fields of its program as its own: `process.path`, `parent.memfd`.

A value is got from a `Look`, an event with its context; of a table that is one of many
(`ancestor`, `answers`), from the one that is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Iterator
from collections.abc import Mapping
from enum import Enum
from functools import cache
from functools import partial
from operator import attrgetter
from typing import Any
from typing import NamedTuple

import msgspec
from msgspec import inspect

from agent.model import Container
from agent.model import Context
from agent.model import Event
from agent.model import Executable
from agent.model import Host
from agent.model import Mapping as MemoryMapping
from agent.model import Process
from agent.model import Writer

Getter = Callable[[Any], Any]


class Look(NamedTuple):
    """What a rule is shown."""

    event: Event
    context: Context


class Holds(Enum):
    """What a field holds."""

    TEXT = "text"
    ADDRESS = "address"
    NUMBER = "number"
    YES_NO = "true or false"
    TEXTS = "texts"


class Leaf(NamedTuple):
    """A field."""

    get: Getter
    holds: Holds
    secret: bool = False
    """Whether what it holds stays out of findings: command lines do, by GuardDuty's rule."""


class Table(NamedTuple):
    """Fields that belong together; every one of several when `many`."""

    get: Getter
    fields: Mapping[str, Leaf | Table]
    many: bool = False


Shape = Leaf | Table

SECRETS = frozenset({"args", "args_tail", "command_line"})
_UNSAID = frozenset({"time_ns", "existing", "exe", "script", "stdio", "cookie", "container_id"})
_UNSAID_ENDS = ("at_ns", "started_ns", "uuid", "boot_id")
"""Left out: moments and numbers that no rule can know, what is always so, and what is there under another name."""
_SIMPLE: dict[type[inspect.Type], Holds] = {
    inspect.StrType: Holds.TEXT,
    inspect.IntType: Holds.NUMBER,
    inspect.BoolType: Holds.YES_NO,
}


@cache
def shape(event_class: type[Event]) -> Table:
    """Return what a rule may ask of events of a class; its fields are got from a look."""
    own = _of(event_class, "event.")
    if "args" in own:
        own["command_line"] = Leaf(_command_line, Holds.TEXT, secret=True)
    return Table(itself, own | around())


def common() -> Table:
    """Return what every kind of event has of its own."""
    return Table(itself, _of(Event, "event."))


def names(table: Table, prefix: str = "") -> Iterator[tuple[str, Leaf]]:
    """Yield every field there is with its dotted name."""
    for name, found in table.fields.items():
        if isinstance(found, Leaf):
            yield prefix + name, found
        else:
            yield from names(found, f"{prefix}{name}.")


def roots() -> frozenset[str]:
    """Return the names of what stands around an event, which no field of an event may have."""
    return frozenset(around())


@cache
def around() -> dict[str, Table]:
    """Return the nouns around an event: who did it, where, and in what company."""
    process = _process()
    return {
        "process": Table(attrgetter("context.actor"), process),
        "parent": Table(_parent, process),
        "ancestor": Table(attrgetter("context.lineage"), process, many=True),
        "target_process": Table(attrgetter("context.target"), process),
        "serving": Table(attrgetter("context.serving"), process),
        "container": Table(attrgetter("context.container"), _of(Container)),
        "writer": Table(attrgetter("context.writer"), _of(Writer) | {"process": Table(attrgetter("process"), process)}),
        "mapping": Table(attrgetter("context.mapping"), _of(MemoryMapping)),
        "host": Table(attrgetter("context.host"), _of(Host)),
    }


@cache
def _process() -> dict[str, Shape]:
    """Return the fields of a process, with those of its program."""
    exe = attrgetter("exe")
    program = {name: field._replace(get=through(exe, field.get)) for name, field in _of(Executable).items()}
    return {
        "tgid": Leaf(attrgetter("key.tgid"), Holds.NUMBER),
        **program,
        **_of(Process),
        "command_line": Leaf(lambda process: " ".join(process.args) or None, Holds.TEXT, secret=True),
    }


@cache
def _of(kind: type[msgspec.Struct], holder: str = "") -> dict[str, Shape]:
    """Return the fields of a struct; `holder` leads to it, with a dot."""
    declared = inspect.type_info(kind)
    fields = declared.fields if isinstance(declared, inspect.StructType) else ()
    found = {field.name: _shape(holder, field.name, field.type) for field in fields if _is_said(field.name)}
    return {name: field for name, field in found.items() if field is not None}


def _is_said(name: str) -> bool:
    return name not in _UNSAID and not name.endswith(_UNSAID_ENDS)


def _shape(holder: str, name: str, declared: inspect.Type) -> Shape | None:
    """Return what a declared field is for a rule; None when a rule can make nothing of it."""
    get = attrgetter(holder + name)
    match _known(declared):
        case inspect.StructType(cls=kind):
            return Table(get, _of(kind))
        case inspect.VarTupleType(item_type=inspect.StructType(cls=kind)):
            return Table(get, _of(kind), many=True)
        case inspect.VarTupleType(item_type=inspect.StrType()):
            return Leaf(get, Holds.TEXTS, secret=name in SECRETS)
        case known:
            holds = _SIMPLE.get(type(known))
    if holds is Holds.TEXT and name.endswith("_address"):
        holds = Holds.ADDRESS
    return None if holds is None else Leaf(get, holds)


def _known(declared: inspect.Type) -> inspect.Type:
    """Return the type of a value that is known: without the None of what may be unknown."""
    if not isinstance(declared, inspect.UnionType):
        return declared
    known = [one for one in declared.types if not isinstance(one, inspect.NoneType)]
    return known[0] if len(known) == 1 else declared


def through(outer: Getter, inner: Getter) -> Getter:
    """Return what gets a field of something that may be unknown."""
    return inner if outer is itself else partial(_through, outer, inner)


def _through(outer: Getter, inner: Getter, value: object) -> object:
    held = outer(value)
    return None if held is None else inner(held)


def itself(value: object) -> object:
    """Return what is given: the getter of who needs none."""
    return value


def _parent(look: Look) -> Process | None:
    return look.context.lineage[0] if look.context.lineage else None


def _command_line(look: Look) -> str | None:
    """Return the arguments of a start in one line; of a long one, head and tail with a gap between."""
    event: Any = look.event
    return " ".join((*event.args, *(("...",) if event.args_omitted_bytes else ()), *event.args_tail)) or None
