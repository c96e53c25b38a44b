"""The agent's settings: one frozen `Config` from one TOML file; an empty file works.

Every key is declared once, below, with its type, its limits and its meaning;
`docs/configuration.md` says the same and a test holds the two together.  A key
that is not declared, or a value that is not as declared, raises ConfigError
naming file, line, key and what is allowed.  A file is never half used.
"""

from __future__ import annotations

import re
import reprlib
import tomllib
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from typing import Any
from typing import Literal
from typing import NamedTuple
from typing import TypeVar

import msgspec
from msgspec import Meta
from msgspec import inspect

from agent import wording
from agent.containing import ContainersConfig
from agent.errors import ConfigError
from agent.joining import EnrolmentConfig
from agent.listing import IntelConfig
from agent.listing import RulesConfig
from agent.managing import ManagementConfig
from agent.metadata import EcsConfig
from agent.metadata import HostConfig
from agent.metadata import KubernetesConfig
from agent.model import Sensitivity
from agent.privacy import PrivacyConfig
from agent.reporting import CollectorConfig
from agent.reporting import SpoolConfig
from agent.wording import ListedName

_FILE_LIMIT_BYTES = 256 * 1024  # a thousand times what a full file takes: whatever is larger is not a configuration
_OWN_TGIDS = 15  # the kernel's table has room for 18 (own_tgids in ebpf/prelude.c), the agent and two children are 3
_SENSITIVE_FILES = 256  # half of the kernel's table (sensitive_files in ebpf/prelude_opens.c)
_S = TypeVar("_S", bound=msgspec.Struct)
RingMib = Literal[1, 2, 4, 8, 16, 32, 64]
"""A ring buffer has a power of two of pages (kernel/bpf/ringbuf.c); 64 MiB hold a minute of a very busy host."""


class SensorConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[sensor]`: what is watched, and how the probes are loaded."""

    source: Annotated[
        Literal["auto", "ebpf", "userspace"],
        Meta(
            description="By what the host is watched: eBPF, or without, as [userspace.md](userspace.md) says; `auto` "
            "goes without where eBPF is refused."
        ),
    ] = "auto"

    probes: Annotated[
        tuple[str, ...] | Literal["all"],
        Meta(description='`"all"`, or a list of probe names, as `vedette doctor` shows them.'),
    ] = "all"
    python: Annotated[
        Path | None,
        Meta(description="Interpreter that can import `bcc`. Without it: the first that can, of this one and python3."),
    ] = None
    compat: Annotated[
        Literal["auto", "always", "off"],
        Meta(description="Whether calls by 32-bit programs and `int 0x80` are seen: below."),
    ] = "auto"
    own_tgids: Annotated[
        tuple[Annotated[int, Meta(ge=1)], ...],
        Meta(max_length=_OWN_TGIDS, description="Process ids that are ours and not reported, beside the agent's own."),
    ] = ()
    disabled_kinds: Annotated[
        tuple[str, ...],
        Meta(
            description="Kinds of event that are switched off in the kernel, by the names of their probes. Findings "
            "that need them go blind, and `vedette doctor` says which."
        ),
    ] = ()
    sensitive_files: Annotated[
        tuple[ListedName, ...],
        Meta(
            max_length=_SENSITIVE_FILES,
            description="Files whose every open is told, by the last two names of their path, `*` for any: "
            "`app/secrets.yml`, `*/token`. All files of a directory, `pam.d/*`, are told as sensitive when they are "
            "written. Those of docs/filtering.md are there already.",
        ),
    ] = ()
    lifecycle_ring_mib: Annotated[
        RingMib, Meta(description="Kernel memory for starts and ends of processes that wait to be read.")
    ] = 2
    activity_ring_mib: Annotated[RingMib, Meta(description="The same for everything else.")] = 1
    self_check_interval_s: Annotated[int, Meta(ge=1, description="How often canary and hooks are looked after.")] = 30


class FindingsConfig(msgspec.Struct, frozen=True, kw_only=True):
    """`[findings]`: how much company a finding needs before it fires."""

    sensitivity: Annotated[
        Sensitivity,
        Meta(
            description="How much company a finding needs before it fires (docs/company.md); `balanced` and `low` let "
            "known benign company pass."
        ),
    ] = Sensitivity.BALANCED
    types: Annotated[
        dict[str, Literal["off", "low", "balanced", "high"]],
        Meta(
            description='The same for single types, by name: `{ "Execution:Runtime/SuspiciousTool" = "high" }`. `off` '
            "never fires; the events are kept all the same."
        ),
    ] = {}
    known_good: Annotated[
        tuple[Path, ...], Meta(description="Files of known good company of your own: [known-good.md](known-good.md).")
    ] = ()


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be set."""

    state_dir: Annotated[Path, Meta(description="Where the spool is kept.")] = Path("/var/lib/vedette")
    lock_file: Annotated[
        Path, Meta(description="Held by the one agent of this host; share it between ways of installing.")
    ] = Path("/run/vedette/agent.lock")
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="What goes to standard error.")
    ] = "info"
    health_interval_s: Annotated[
        int, Meta(ge=1, description="How often counters and memory are reported to the collector.")
    ] = 10
    collector: CollectorConfig = CollectorConfig()
    enrolment: EnrolmentConfig = EnrolmentConfig()
    sensor: SensorConfig = SensorConfig()
    findings: FindingsConfig = FindingsConfig()
    containers: ContainersConfig = ContainersConfig()
    intel: IntelConfig = IntelConfig()
    rules: RulesConfig = RulesConfig()
    host: HostConfig = HostConfig()
    ecs: EcsConfig = EcsConfig()
    kubernetes: KubernetesConfig = KubernetesConfig()
    management: ManagementConfig = ManagementConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    spool: SpoolConfig = SpoolConfig()

    @property
    def address(self) -> str:
        """Return the collector's address, or that of the local one when none is set."""
        return self.collector.address or local_address(self.state_dir)


def local_address(state_dir: Path) -> str:
    """Return the address of the unix socket on which a collector with this state directory listens."""
    return f"unix://{state_dir}/collector.sock"


class Key(NamedTuple):
    """A declared key, in words; `name` is dotted: `sensor.probes`."""

    name: str
    allowed: str
    default: str
    meaning: str


def declared_keys(section: type[msgspec.Struct] = Config, prefix: str = "") -> Iterator[Key]:
    """Yield every key there is, in the order of declaration."""
    for field in msgspec.structs.fields(section):
        if isinstance(field.default, msgspec.Struct):
            yield from declared_keys(type(field.default), f"{field.name}.")
        else:
            meaning = inspect.type_info(field.type)
            default = {} if field.default is msgspec.NODEFAULT else field.default  # a table is made anew each time
            words = (wording.allowed(meaning), wording.spelled(default), wording.description(meaning))
            yield Key(prefix + field.name, *words)


def load(path: Path) -> Config:
    """Return the settings in a file.  Raises ConfigError when it cannot be read or used."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(_FILE_LIMIT_BYTES + 1)
    except OSError as exc:
        raise ConfigError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(raw) > _FILE_LIMIT_BYTES:
        raise ConfigError(f"{path} is larger than {_FILE_LIMIT_BYTES} bytes: not a configuration file")
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        raise ConfigError(f"{path}:{line}: not UTF-8") from exc
    return parse(text, str(path))


def parse(text: str, name: str) -> Config:
    """Return the settings in a TOML document, called `name` in errors.  Raises ConfigError."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise ConfigError(f"{name}:{_where(text, str(exc))}") from exc
    try:
        return _section(Config, document, ())
    except _BadKey as exc:
        raise ConfigError(f"{name}:{_line(text, exc.path)}: {exc.complaint}") from exc


class _BadKey(Exception):
    """What is wrong with the key at a path."""

    def __init__(self, path: tuple[str, ...], complaint: str) -> None:
        super().__init__(complaint)
        self.path = path
        self.complaint = complaint


def _section(kind: type[_S], table: Mapping[str, Any], path: tuple[str, ...]) -> _S:
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values = {}
    for key, value in table.items():
        here = (*path, key)
        if key not in fields:
            raise _BadKey(here, f"unknown key {'.'.join(here)}; {wording.instead(key, list(fields))}")
        default = fields[key].default
        if not isinstance(default, msgspec.Struct):
            values[key] = _value(fields[key].type, value, here)
        elif isinstance(value, dict):
            values[key] = _section(type(default), value, here)
        else:
            raise _BadKey(here, f"{key} is a section: write [{key}]")
    return kind(**values)


def _value(kind: Any, value: Any, path: tuple[str, ...]) -> Any:
    declared = inspect.type_info(kind)
    try:
        return msgspec.convert(value, kind, dec_hook=wording.custom)
    except msgspec.ValidationError as exc:
        raise _BadKey(path, f"{'.'.join(path)} must be {wording.allowed(declared)}, not {reprlib.repr(value)}") from exc


def _where(text: str, complaint: str) -> str:
    found = re.fullmatch(r"(.*) \(at line (\d+), column \d+\)", complaint, re.DOTALL)
    if found:
        return f"{found[2]}: {found[1]}"
    return f"{text.count(chr(10)) + 1}: {complaint}"


def _line(text: str, path: tuple[str, ...]) -> int:
    """Return the line on which a key of a valid document stands.

    tomllib does not say.  But the first lines of a document, up to any that ends
    a statement, are a document too: the key stands right after the longest such
    beginning that does not have it.
    """
    lines = text.split("\n")
    before = 0
    for count in range(1, len(lines)):
        try:
            document = tomllib.loads("\n".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        if _has(document, path):
            break
        before = count
    return before + 1


def _has(document: Mapping[str, Any], path: tuple[str, ...]) -> bool:
    table: Any = document
    for key in path:
        if not isinstance(table, dict) or key not in table:
            return False
        table = table[key]
    return True
