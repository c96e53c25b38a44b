"""The doctor's report, from what was found out."""

from __future__ import annotations

import json

import pytest

from agent import findings
from agent import probes
from agent.commands import _checks
from agent.commands import doctor
from agent.commands._checks import Check
from agent.errors import HostUnsupported
from agent.model import ProbeStatus
from agent.terminal import json_line

PROBES = [probe.name for probe in probes.load()]
FINE = {"root": Check(ok=True, detail="uid 0"), "cgroup2": Check(ok=None, detail="not mounted")}


def statuses(*unavailable: str) -> tuple[ProbeStatus, ...]:
    """Return what became of each probe."""
    return tuple(
        ProbeStatus(name=name, attached=False, reason="EPERM\x1b")
        if name in unavailable
        else ProbeStatus(name=name, attached=True, lane="raw tracepoint")
        for name in PROBES
    )


def test_a_host_that_lacks_nothing_is_healthy() -> None:
    """All probes attached, and nothing to do; what does not matter here is no fault."""
    report = doctor.examined(FINE, statuses())

    assert report.healthy
    assert ((), ()) == (report.blind_findings, report.advice)


@pytest.mark.parametrize("probe", PROBES)
def test_a_probe_that_is_missing_names_what_goes_blind(probe: str) -> None:
    """Exactly the findings that listen to a probe, or need it, are named."""
    report = doctor.examined(FINE, statuses(probe))

    blind = {one.name for one in findings.load() if probe in (*one.kinds, *one.needs)}
    assert not report.healthy
    assert blind == set(report.blind_findings)
    assert any(probe in sentence for sentence in report.advice)


def test_a_check_that_fails_says_what_to_do() -> None:
    """The advice names the check it comes from."""
    report = doctor.examined(FINE | {"btf": Check(ok=False, detail="missing", advice="boot another")}, statuses())

    assert not report.healthy
    assert ("btf: boot another",) == report.advice


def test_without_root_nothing_is_claimed() -> None:
    """A probe that nobody tried is neither attached nor unavailable."""
    report = doctor.examined(FINE, ())

    assert {"unknown"} == {probe.status for probe in report.probes}
    assert () == report.blind_findings


def test_the_report_reads_the_same_for_programs_and_people() -> None:
    """JSON has the members that were promised, and the text shows reasons that cannot act on the terminal."""
    report = doctor.examined(FINE, statuses("process_exec"))

    document = json.loads(json_line(doctor.document(report)))
    text = doctor.text(report)

    assert {"root", "cgroup2", "probes", "blind_findings", "advice"} == set(document)
    assert {"name", "status", "lane", "reason"} <= set(document["probes"][0])
    assert "process_exec unavailable EPERM\\x1b" in [" ".join(line.split()) for line in text.splitlines()]
    assert all(line.isprintable() for line in text.splitlines())


def test_what_is_missing_is_split_into_fact_and_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence that `run` refuses with is the doctor's finding and prescription."""

    def refuse() -> None:
        raise HostUnsupported("no BTF here: boot another kernel: a newer one")

    monkeypatch.setattr("agent.sensor.ebpf.requirements.require_btf", refuse)

    assert Check(ok=False, detail="no BTF here", advice="boot another kernel: a newer one") == _checks.btf_types()


def test_every_question_is_answered_here() -> None:
    """Whatever this machine is like, each check comes back with a sentence."""
    answers = {name: ask() for name, ask in _checks.QUESTIONS.items()}

    assert all(check.detail for check in answers.values())
    assert all(check.advice for check in answers.values() if check.ok is False)
