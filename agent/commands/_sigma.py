"""Sigma rules as rules of ours: the YAML of one becomes the TOML of the other, once, before anybody runs it.

The agent never reads Sigma: pySigma and what it brings take more memory than the agent has,
and a rule that matches something else than its author thought should be seen in our own words first.

What has no counterpart here (a field, a modifier, keywords, a product that is not Linux) is an
error that names it: a rule that silently asks less than it says is worse than none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from typing import NamedTuple

from agent.errors import ConfigError
from agent.errors import HostUnsupported
from agent.rules.parsing import parse

Condition = dict[str, Any]
_LEVELS = {"critical": "high", "high": "high", "medium": "medium", "low": "low", "informational": "low"}
_ACTOR = {
    "Image": "process.path",
    "CommandLine": "process.command_line",
    "ParentImage": "parent.path",
    "ParentCommandLine": "parent.command_line",
    "User": "process.user",
    "ProcessId": "tgid",
}
_PROTOCOLS = {"tcp": 6, "udp": 17}


class _Category(NamedTuple):
    """A category of Sigma's log sources: the kind of event, and where its fields are there."""

    kind: str
    fields: Mapping[str, str]


_CATEGORIES = {
    "process_creation": _Category(
        "process_exec",
        _ACTOR | {"Image": "path", "CommandLine": "command_line", "CurrentDirectory": "cwd"},
    ),
    "network_connection": _Category(
        "net_connect",
        _ACTOR | {"DestinationIp": "remote_address", "DestinationPort": "remote_port", "Protocol": "protocol"},
    ),
    "file_event": _Category("file_open", _ACTOR | {"TargetFilename": "path"}),
    "dns_query": _Category("dns_query", _ACTOR | {"QueryName": "name"}),
    "dns": _Category("dns_query", _ACTOR | {"query": "name"}),
}


def imported(file: Path) -> str:
    """Return the TOML of the rules in a Sigma file.  Raises ConfigError, and HostUnsupported without pySigma."""
    try:
        rules = _read(file)
        written = "\n".join(_rule(rule) for rule in rules)
    except _Foreign as exc:
        raise ConfigError(f"{file}: {exc}") from exc
    errors = parse(written, f"{file} as TOML").errors
    if errors or not rules:
        raise ConfigError(errors[0] if errors else f"{file}: has no rule")
    return written


def _read(file: Path) -> list[Any]:
    """Return the rules as pySigma has them, their conditions looked at.  Raises ConfigError and HostUnsupported."""
    try:
        from sigma.collection import SigmaCollection  # noqa: PLC0415  an extra, and 40 MB
        from sigma.exceptions import SigmaError  # noqa: PLC0415  as above
        from yaml import YAMLError  # noqa: PLC0415  as above
    except ImportError as exc:
        raise HostUnsupported("pySigma is not installed: pip install 'vedette[sigma]'") from exc
    # What is no rule at all gets as far as an attribute that a text or a list does not have.
    refusals = (SigmaError, YAMLError, AttributeError, TypeError, KeyError, ValueError)
    try:
        rules: list[Any] = list(SigmaCollection.from_yaml(file.read_text(encoding="utf-8")))
        for rule in rules:
            [one.parsed for one in rule.detection.parsed_condition]
    except OSError as exc:
        raise ConfigError(f"{file}: cannot be read: {exc.strerror}") from exc
    except refusals as exc:
        raise ConfigError(f"{file}: no Sigma rule: {' '.join(str(exc).split())}") from exc
    return rules


class _Foreign(Exception):
    """Something in a Sigma rule has no counterpart here."""


def _rule(rule: Any) -> str:
    """Return the TOML of one rule."""
    source = rule.logsource
    if source.product not in {None, "linux"} or source.category not in _CATEGORIES:
        known = ", ".join(_CATEGORIES)
        raise _Foreign(f"{rule.title}: is of {source.product}, {source.category}; known are those of linux, {known}")
    category = _CATEGORIES[source.category]
    if len(rule.detection.parsed_condition) != 1:
        raise _Foreign(f"{rule.title}: has {len(rule.detection.parsed_condition)} conditions; write a rule for each")
    try:
        condition = _condition(rule.detection.parsed_condition[0].parsed, category)
    except _Foreign as exc:
        raise _Foreign(f"{rule.title}: {exc}") from exc
    return "\n".join([*_head(rule), "[[rule]]", *_keys(rule, category), "", "[rule.when]", *_lines(condition), ""])


def _head(rule: Any) -> Iterator[str]:
    """Yield comments that say whose it is: Sigma's licence (DRL 1.1) asks for the author's name."""
    said = {"Sigma rule": rule.id, "by": rule.author, "licence": rule.license, "see": " ".join(rule.references or ())}
    yield from (f"# {name}: {' '.join(str(value).split())}" for name, value in said.items() if value)
    yield from (f"# false positives: {' '.join(str(one).split())}" for one in rule.falsepositives or ())


def _keys(rule: Any, category: _Category) -> Iterator[str]:
    name = re.sub(r"[^A-Za-z0-9]", "", rule.title.title())[:64]
    technique = next((tag.name.upper() for tag in rule.tags if re.fullmatch(r"t\d{4}(\.\d{3})?", tag.name)), None)
    level = rule.level.name.lower() if rule.level else "medium"
    yield f"name = {_toml(name if name[:1].isalpha() else f'Sigma{name}'[:64])}"
    yield f"description = {_toml(' '.join(rule.title.split()))}"
    yield f"severity = {_toml(_LEVELS[level])}"
    yield f"kinds = {_toml(category.kind)}"
    if technique:
        yield f"attack = {_toml(technique)}"
    yield "dry_run = true # until you have seen what it would tell"


def _condition(item: Any, category: _Category) -> Condition:
    """Return a condition of Sigma's as ours."""
    kind = type(item).__name__
    if kind == "ConditionNOT":
        return {"not": _condition(item.args[0], category)}
    if kind in {"ConditionAND", "ConditionOR"}:
        parts = [_condition(one, category) for one in item.args]
        return _together(parts) if kind == "ConditionAND" else _either(parts)
    if kind != "ConditionFieldEqualsValueExpression":
        raise _Foreign("keywords without a field are not asked here")
    if item.field not in category.fields:
        raise _Foreign(
            f"the field {item.field} is not known of {category.kind}; known are {', '.join(category.fields)}"
        )
    field = category.fields[item.field]
    values = item.value.values if type(item.value).__name__ == "SigmaExpansion" else [item.value]
    return _either([{field: _value(field, one)} for one in values])


def _together(parts: list[Condition]) -> Condition:
    """Return that all hold: in one table where each asks something else."""
    merged: Condition = {}
    for part in parts:
        if merged.keys() & part.keys():
            return {"all": parts}
        merged |= part
    return merged


def _either(parts: list[Condition]) -> Condition:
    """Return that one holds: as a list where all ask the same of the same field."""
    if len(parts) == 1:
        return parts[0]
    asked = {(field, *value) for part in parts for field, value in part.items() if isinstance(value, dict)}
    if len(asked) != 1 or any(len(part) != 1 for part in parts) or {"any", "all", "not"} & set(parts[0]):
        return {"any": parts}
    [(field, *names)] = asked
    operator = names[0]
    if operator in {"min", "max", "exists", "not"}:
        return {"any": parts}
    values = [part[field][operator] for part in parts]
    others = {name: value for name, value in parts[0][field].items() if name != operator}
    return {field: {"in" if operator == "is" else operator: values} | others}


def _value(field: str, value: Any) -> Condition:
    """Return the operators that a value of Sigma's is."""
    found = _VALUES.get(type(value).__name__)
    if found is None:
        raise _Foreign(f"a value of {field} is a {type(value).__name__}, which is not asked here")
    if field == "protocol":
        return {"is": _PROTOCOLS.get(str(value).lower(), value.number if hasattr(value, "number") else -1)}
    return found(value)


def _text(value: Any) -> Condition:
    """Return a text with Sigma's wildcards as the plainest operator that is it; case does not count, as in Sigma."""
    parts = [one if isinstance(one, str) else _WILD[one.name] for one in value.s]
    texts = [one for one in value.s if isinstance(one, str)]
    open_before, open_after = parts[:1] == ["*"], parts[-1:] == ["*"]
    if parts == ["*"]:
        return {"exists": True}
    if len(texts) == 1 and len(parts) == 1 + open_before + open_after:
        operator = {(True, True): "contains", (True, False): "suffix", (False, True): "prefix"}
        return {operator.get((open_before, open_after), "is"): texts[0], "ignore_case": True}
    if not texts or not any({"*", "?"} & set(text) for text in texts):
        return {"glob": "".join(parts), "ignore_case": True} if parts else {"exists": False}
    wild = {"*": ".*", "?": "."}
    pieces = (re.escape(one) if isinstance(one, str) else wild[_WILD[one.name]] for one in value.s)
    return {"regex": f"(?s)^{''.join(pieces)}$", "ignore_case": True}


def _cased(value: Any) -> Condition:
    return {operator: texts for operator, texts in _text(value).items() if operator != "ignore_case"}


def _expression(value: Any) -> Condition:
    flags = {flag.name[0].lower() for flag in value.flags}
    written = "".join(one if isinstance(one, str) else _WILD[one.name] for one in value.regexp.s)
    return {"regex": (f"(?{''.join(sorted(flags))})" if flags else "") + written}


def _compared(value: Any) -> Condition:
    number = int(value.number.number)
    bounds = {"GTE": ("min", 0), "GT": ("min", 1), "LTE": ("max", 0), "LT": ("max", -1)}
    name, more = bounds[value.op.name]
    return {name: number + more}


_WILD = {"WILDCARD_MULTI": "*", "WILDCARD_SINGLE": "?"}
_VALUES: dict[str, Callable[[Any], Condition]] = {
    "SigmaString": _text,
    "SigmaCasedString": _cased,
    "SigmaNumber": lambda value: {"is": int(value.number)},
    "SigmaRegularExpression": _expression,
    "SigmaCIDRExpression": lambda value: {"cidr": value.cidr},
    "SigmaCompareExpression": _compared,
    "SigmaExists": lambda value: {"exists": bool(value.exists)},
    "SigmaNull": lambda _: {"exists": False},
}


def _lines(condition: Condition) -> Iterator[str]:
    """Yield a table, an entry a line; lists of tables one table a line."""
    for key, value in condition.items():
        if isinstance(value, list) and all(isinstance(one, dict) for one in value):
            yield f"{key} = ["
            yield from (f"    {_toml(one)}," for one in value)
            yield "]"
        else:
            yield f"{key} = {_toml(value)}"


def _toml(value: object) -> str:
    """Return a value as TOML has it; texts are JSON's, which is TOML's, too, but for DEL."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return json.dumps(value)


def all_of(files: Iterable[Path]) -> Iterator[tuple[str, str | None]]:
    """Yield of each file its TOML, or else what is wrong with it."""
    for file in files:
        try:
            yield imported(file), None
        except ConfigError as exc:
            yield "", str(exc)
