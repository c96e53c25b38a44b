"""Writes docs/findings.md, the fields in docs/rules.md and the routes in docs/api.md from what declares them.

python -m agent.docs             write them
python -m agent.docs --check     exit status 1 if one is not what would be written
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterator
from collections.abc import Mapping
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from agent import findings
from agent import intel
from agent.classify import Classifier
from agent.commands import _sources
from agent.counters import Counters
from agent.findings import AnyFinding
from agent.findings import known_excuses
from agent.model import Sensitivity
from agent.rules import fields
from agent.rules.parsing import kinds
from collector.api import routes

PATH = Path(__file__).resolve().parents[1] / "docs" / "findings.md"
RULES_PATH = PATH.with_name("rules.md")
API_PATH = PATH.with_name("api.md")
RULES_MARK = "<!-- Written by `make docs` from here on; do not edit. -->"

HEAD = """\
# Findings

<!-- Written by `make docs` from agent/findings; do not edit. -->

What Vedette reports, by GuardDuty's names. Every event is kept whether or not it is a finding. A finding never carries
a command line; look up the event for that: `vedette events --type KIND`. `sudo vedette simulate TYPE` does, harmlessly,
what a finding is about. What you alone can know is odd you say in rules of your own: [rules.md](rules.md).

`sensitivity` in the agent's configuration is `low`, `balanced` (the default) or `high`. Known good company is data,
that which ships and your own, bound to what executables are, never to what they call themselves:
[known-good.md](known-good.md).

*Without eBPF* says what the source in user space gives of a finding where it may trace and see packets (userspace.md).
"""


class Prose(NamedTuple):
    """The parts of a finding's docstring, each as one paragraph."""

    meaning: str
    why: str
    noise: str
    blind: str


def prose(docstring: str) -> Prose:
    """Return the parts of a docstring: what, why, `Noise:`, `Blind to:`.  Raises `ValueError` when one is missing."""
    what, _, rest = docstring.partition("\n\n")
    found = re.fullmatch(r"(?P<why>.*?)\n\nNoise: (?P<noise>.*?)\nBlind to: (?P<blind>.*)", rest.strip(), re.DOTALL)
    if found is None:
        raise ValueError(f"not what, why, Noise:, Blind to: {what!r}")
    return Prose(*(" ".join(part.split()) for part in (what, found["why"], found["noise"], found["blind"])))


def page(types: Sequence[AnyFinding]) -> str:
    """Return the whole page."""
    rows = "\n".join(map(_row, types))
    table = f"| finding | severity | technique | events | without eBPF |\n|---|---|---|---|---|\n{rows}\n"
    return "\n".join([HEAD, table, *("\n".join(section(each)) for each in types)])


def _row(finding: AnyFinding) -> str:
    """Return the line of the table that leads to a finding's section."""
    link = f"[{finding.name}](#{anchor(finding.name)})"
    given = _sources.without_ebpf(finding).given
    return f"| {link} | {severity(finding)} | {finding.attack} | {', '.join(finding.kinds)} | {given} |"


def severity(finding: AnyFinding) -> str:
    """Return the severity of a type, or that it is variable."""
    return "Variable" if finding.severity_rule else finding.severity.name.title()


def anchor(title: str) -> str:
    """Return the fragment under which a heading is found: lower case, without punctuation."""
    return re.sub(r"[^a-z0-9-]", "", title.lower())


def section(finding: AnyFinding) -> Iterator[str]:
    """Yield the lines about one finding."""
    module = importlib.import_module(finding.match.__module__)
    said = prose(module.__doc__ or "")
    yield f"## {finding.name}\n"
    yield f"{said.meaning} {said.why}\n"
    usual = f"{finding.severity.name.title()} ({finding.severity.value:g})"
    yield f"- **Severity**: {finding.severity_rule or usual}"
    yield f"- **Fires**: {_company(finding)}"
    yield f"- **Technique**: MITRE ATT&CK {finding.attack}"
    yield f"- **Events**: {_code(finding.kinds)}{_also(finding)}"
    yield f"- **Without eBPF**: {_without_ebpf(finding)}"
    yield f"- **Noise**: {said.noise}"
    yield f"- **Blind to**: {said.blind}"
    yield f"- **To quiet it**: {quiet(finding)}"
    yield f"- **Try it**: `sudo vedette simulate '{finding.name}'`\n"
    yield from sample(finding)
    yield from _examples(finding, "Fires:", fires=True)
    yield from _examples(finding, "Stays silent:", fires=False)


def _company(finding: AnyFinding) -> str:
    """Return when it fires by itself, and when in odd company only."""
    if Sensitivity.BALANCED in finding.company:
        return "in odd company (docs/company.md) at `balanced` and `low`; at once at `high`"
    if Sensitivity.LOW in finding.company:
        return "at once; at `low` in odd company (docs/company.md)"
    return "at once"


def _also(finding: AnyFinding) -> str:
    """Return which further probes it needs, and which only help."""
    needs = f"; cannot fire without {_code(finding.needs)}" if finding.needs else ""
    return needs + (f"; more evidence with {_code(finding.uses)}" if finding.uses else "")


def _without_ebpf(finding: AnyFinding) -> str:
    """Return what the source in user space gives of it, and what that lacks."""
    given, why = _sources.without_ebpf(finding)
    return f"{given}: {'; '.join(why)}." if why else f"{given}."


def _code(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def quiet(finding: AnyFinding) -> str:
    """Return what keeps it silent, from the known good company that ships with the agent."""
    excuses = [excuse for excuse in known_excuses() if excuse.finding == finding.name]
    if not excuses:
        return "nothing is excused."
    levels = [level.value for level in Sensitivity]
    told = (
        f"{excuse.reason} (at {', '.join(f'`{level}`' for level in levels if Sensitivity(level) in excuse.at)})"
        for excuse in excuses
    )
    return f"excused: {'; '.join(told)}."


def sample(finding: AnyFinding) -> Iterator[str]:
    """Yield what an analyst reads, from the first example that fires."""
    example = next(example for example in finding.examples if example.fires)
    classifier = Classifier(
        [finding.accompanied()],
        intel=intel.bundled(),
        benign=findings.known_good(Counters()),
        sensitivity=example.sensitivity,
        counters=Counters(),
    )
    [found] = classifier.classify(example.event, example.around)
    yield f"> **{found.title}.** {found.evidence.reason}.\n"


def _examples(finding: AnyFinding, heading: str, *, fires: bool) -> Iterator[str]:
    yield f"{heading}\n"
    yield from (f"- {example.title}" for example in finding.examples if example.fires is fires)
    yield ""


def main(arguments: Sequence[str]) -> int:
    """Write or check the pages; return the exit status."""
    pages = {PATH: page(findings.load()), RULES_PATH: rules_page(), API_PATH: api_page()}
    if list(arguments) == ["--check"]:
        return (
            0 if all(path.is_file() and path.read_text(encoding="utf-8") == text for path, text in pages.items()) else 1
        )
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return 0


def rules_page() -> str:
    """Return docs/rules.md with the tables of fields as they are declared."""
    return RULES_PATH.read_text(encoding="utf-8").partition(RULES_MARK)[0] + RULES_MARK + "\n".join(_fields())


def api_page() -> str:
    """Return docs/api.md with the routes as they are."""
    return API_PATH.read_text(encoding="utf-8").partition(RULES_MARK)[0] + RULES_MARK + "\n".join(_routes())


def _routes() -> Iterator[str]:
    """Yield the table of routes, then what each takes."""
    yield "\n\n| route | role | what |\n|---|---|---|"
    for route in routes.table():
        about = inspect.cleandoc(route.answer.__doc__ or "").splitlines()[0]
        yield f"| `{route.method} {route.path}` | {route.role} | {about} |"
    for route in routes.table():
        taken = [*_taken("query", route.parameters), *(_taken("body", route.body) if route.body else [])]
        if taken:
            yield f"\n`{route.method} {route.path}`\n"
            yield from taken
    yield ""


def _taken(where: str, shape: type[msgspec.Struct]) -> Iterator[str]:
    for field in msgspec.json.schema_components([shape])[1][shape.__name__]["properties"].items():
        name, about = field
        kinds = [one for one in about.get("anyOf", [about]) if one.get("type") != "null"]
        values = [one for one in kinds[0].get("enum", []) if one is not None]
        told = ", ".join(f"`{one}`" for one in values) or kinds[0].get("type", "object")
        default = about.get("default")
        yield f"- {where} `{name}`: {told}" + (
            "" if default in (None, "") else f"; `{json.dumps(default)}` if not said"
        )


def _fields() -> Iterator[str]:
    """Yield the tables: what each kind of event has of its own, then what all have, and what is around them."""
    common = {field: _holds(leaf) for field, leaf in fields.names(fields.common())}
    yield "\n\n| kind | fields of its own |\n|---|---|"
    for kind, event_class in kinds().items():
        shape = fields.shape(event_class)
        own = {name: _holds(leaf) for name, leaf in fields.names(shape) if name.partition(".")[0] not in fields.roots()}
        yield f"| `{kind}` | {_listed({name: holds for name, holds in own.items() if name not in common}) or 'none'} |"
    yield f"| all of them | {_listed(common)} |\n"
    yield "| around it | fields |\n|---|---|"
    for name, table in fields.around().items():
        yield f"| `{name}.` | {_around(table)} |"
    yield ""


def _around(table: fields.Table) -> str:
    """Return the fields of a noun; a process in another has those of `process`."""
    deep = {name for name, found in table.fields.items() if isinstance(found, fields.Table) and "tgid" in found.fields}
    own = {name: _holds(leaf) for name, leaf in fields.names(table) if name.partition(".")[0] not in deep}
    if "command_line" in own and table is not fields.around()["process"]:
        return "those of `process.`"
    return ", ".join(filter(None, [_listed(own), *(f"`{name}.` with those of `process.`" for name in sorted(deep))]))


def _listed(named: Mapping[str, str]) -> str:
    """Return fields by what they hold, texts first."""
    words = ("text", "address", "texts", "number", "true or false")
    groups = {word: [f"`{name}`" for name, holds in named.items() if holds == word] for word in words}
    return "; ".join(f"{word}: {', '.join(names)}" for word, names in groups.items() if names)


def _holds(leaf: fields.Leaf) -> str:
    return leaf.holds.value


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
