"""The catalogue of findings: fresh, whole, and made of what is declared."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from agent import docs
from agent import findings
from agent import probes
from agent.model import Event
from agent.rules.parsing import parse

TYPES = findings.load()
ROOT = Path(__file__).parents[2]
ADDED = re.compile(r"""[cC]ounters\.(?:add|set)\(\s*f?"([a-z_.]+)""")  # up to the first part that is put in


def test_the_page_is_what_the_declarations_say():
    """Nobody reads about a finding that works otherwise: run `make docs` when this fails."""
    assert docs.page(TYPES) == docs.PATH.read_text(encoding="utf-8")


def test_the_fields_of_rules_are_what_the_declarations_say():
    """Whoever writes a rule finds every field there is: run `make docs` when this fails."""
    text = docs.RULES_PATH.read_text(encoding="utf-8")

    assert docs.rules_page() == text
    assert all(f"| `{probe.name}` |" in text for probe in probes.load() if probe.name != "canary")


def test_the_rule_on_the_page_is_one():
    """What is copied from the page is understood."""
    blocks = re.findall(r"^```toml\n(.*?)^```", docs.RULES_PATH.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

    assert [((), 1)] == [(found.errors, len(found.rules)) for found in (parse(block, "rules.md") for block in blocks)]


@pytest.fixture(scope="module")
def whole():
    """The page of all findings, which takes a second to write."""
    return docs.page(findings.load())


def test_stale_fields_of_rules_are_told(tmp_path, monkeypatch, whole):
    """The check fails on tables that were edited, and leaves alone what is written above them."""
    page = tmp_path / "rules.md"
    monkeypatch.setattr(docs, "RULES_PATH", page)
    monkeypatch.setattr(docs, "PATH", tmp_path / "findings.md")
    monkeypatch.setattr(docs, "page", lambda _: whole)
    page.write_text(f"By hand.\n{docs.RULES_MARK}\nold")
    assert 0 == docs.main([])

    page.write_text(page.read_text().replace("`path`", "`pfad`", 1))

    assert 1 == docs.main(["--check"])
    assert 0 == docs.main([])
    assert 0 == docs.main(["--check"])
    assert page.read_text().startswith("By hand.\n")


def test_a_stale_page_is_told(tmp_path, monkeypatch, whole):
    """The check that a build runs fails on a page that was edited, is old, or is missing."""
    monkeypatch.setattr(docs, "PATH", tmp_path / "findings.md")
    monkeypatch.setattr(docs, "page", lambda _: whole)

    assert 1 == docs.main(["--check"])
    assert 0 == docs.main([])
    assert 0 == docs.main(["--check"])
    docs.PATH.write_text(docs.PATH.read_text().replace("Medium", "Low", 1))
    assert 1 == docs.main(["--check"])


@pytest.mark.parametrize("finding", TYPES, ids=lambda finding: finding.name)
def test_each_finding_tells_what_an_operator_must_know(finding):
    """Severity, technique, probes, noise, blind spots, an example, and how to quiet it."""
    text = "\n".join(docs.section(finding))
    parts = re.findall(r"^- \*\*(.+?)\*\*: \S", text, re.MULTILINE)

    told = ["Severity", "Fires", "Technique", "Events", "Without eBPF", "Noise", "Blind to", "To quiet it", "Try it"]
    assert told == parts
    assert all(f"`{probe}`" in text for probe in (*finding.kinds, *finding.needs, *finding.uses))
    assert all(f"- {example.title}" in text for example in finding.examples)
    assert text.count("\n> **") == 1


def test_known_good_company_is_told_with_where_it_holds():
    """An operator reads what is excused, and at which sensitivity it no longer is."""
    [new] = [finding for finding in TYPES if finding.name == "Execution:Runtime/NewBinaryExecuted"]

    assert "a linker of the image wrote it (at `low`, `balanced`)" in docs.quiet(new)


@pytest.mark.parametrize(
    "docstring",
    [
        "",
        "What.",
        "What.\n\nWhy.\n\nNoise: some.\n",
        "What.\n\nWhy.\n\nBlind to: a.\nNoise: some.\n",
        "What.\n\nNoise: some.\nBlind to: a.\n",
    ],
)
def test_a_docstring_without_one_of_its_parts_is_refused(docstring):
    """A finding that does not say where it is blind does not get into the catalogue."""
    with pytest.raises(ValueError, match="not what, why, Noise:, Blind to:"):
        docs.prose(docstring)


def test_links_lead_to_headings():
    """Each row of the table leads to its section, as a reader of the repository follows it."""
    text = docs.page(TYPES)
    headings = {docs.anchor(line[3:]) for line in text.splitlines() if line.startswith("## ")}

    assert headings == set(re.findall(r"\]\(#([^)]+)\)", text))
    assert "executionruntimenewbinaryexecuted" in headings


def counters_in_the_code() -> set[str]:
    """Return the name of each counter that the agent moves, as far as it is spelled out."""
    return {name for path in (ROOT / "agent").rglob("*.py") for name in ADDED.findall(path.read_text(encoding="utf-8"))}


def counters_in_the_page() -> set[str]:
    """Return the names in the first column of the table of counters, `_shortened` ones in full."""
    names: set[str] = set()
    for cell in re.findall(r"^\| ([^|]*`[^|]*) \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE):
        first, *others = re.findall(r"`([^`]+)`", cell)
        names |= {first, *(first.rsplit(name[0], 1)[0] + name if name[0] in "._" else name for name in others)}
    return names


def test_every_counter_is_explained():
    """An operator who sees a number move can look up what it counts."""
    counted, explained = counters_in_the_code(), counters_in_the_page()

    assert len(counted) > 20
    assert [] == sorted(name for name in counted if not any(known.startswith(name) for known in explained))


def test_every_explained_counter_is_counted():
    """The page explains no number that nothing moves any more."""
    elsewhere = (
        "sensor.",
        "collector.",
        "enrich.held_",
        "deliver.",
        "reader.",
    )  # totals of the kernel and the tables, and lanes
    counted = counters_in_the_code()

    assert [] == sorted(
        name
        for name in counters_in_the_page()
        if not name.startswith(elsewhere) and not any(name.startswith(known) for known in counted)
    )


@pytest.mark.parametrize("probe", probes.load(), ids=lambda probe: probe.name)
def test_each_field_of_an_event_is_told_with_where_it_is_read(probe):
    """docs/kernel-truth.md leaves out no field, and has none that is no more."""
    told, kind = set(), ""
    for line in (ROOT / "docs/kernel-truth.md").read_text(encoding="utf-8").partition("## By kind")[2].splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) < 4:
            continue
        kind = cells[1].strip("`") or kind
        if kind == probe.name:
            told.update(re.findall(r"`(\w+)`", cells[2]))

    assert told == set(probe.event.__struct_fields__) - set(Event.__struct_fields__)
