from __future__ import annotations

from dataclasses import replace

import pytest

from collector import aggregate
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import container
from tests.unit.collector.made import finding
from tests.unit.collector.made import full_evidence
from tests.unit.collector.made import process
from vedette.v1 import event_pb2
from vedette.v1 import finding_pb2


def evidence(**fields: object) -> finding_pb2.Evidence:
    return finding_pb2.Evidence(reason="because", **fields)  # type: ignore[arg-type]  # the fields of many types


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(finding(sequence=9), id="another occurrence"),
        pytest.param(finding(at_ns=1, event_time_ns=5), id="another time"),
        pytest.param(finding(process={"tgid": 99, "uuid": "other"}), id="another run of the same program"),
        pytest.param(finding(title="in other words", severity=2.0), id="another wording"),
        pytest.param(finding(evidence={"reason": "in other words"}), id="another reason"),
    ],
)
def test_occurrences_of_one_finding_share_its_id(same: finding_pb2.Finding) -> None:
    """What differs from run to run does not make a new finding."""
    assert aggregate.finding_id(ORIGIN, finding()) == aggregate.finding_id(ORIGIN, same)


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(finding(type="Execution:Runtime/ReverseShell"), id="type"),
        pytest.param(finding(process=process(path="/usr/bin/wget")), id="program"),
        pytest.param(finding(evidence={"domain": "other.example.org"}), id="domain"),
        pytest.param(finding(container=container()), id="container"),
    ],
)
def test_another_case_is_another_finding(other: finding_pb2.Finding) -> None:
    """Type, program, resource and distinguishing evidence each make a finding of their own."""
    assert aggregate.finding_id(ORIGIN, finding()) != aggregate.finding_id(ORIGIN, other)


@pytest.mark.parametrize("field", ["account_id", "region", "host_id"])
def test_another_place_is_another_finding(field: str) -> None:
    """The same deed on another host, region or account is a finding of its own."""
    elsewhere = replace(ORIGIN, **{field: "elsewhere"})

    assert aggregate.finding_id(ORIGIN, finding()) != aggregate.finding_id(elsewhere, finding())


def test_a_new_agent_does_not_make_old_findings_new() -> None:
    """Upgrading the agent or renaming the host keeps the ids that an operator works with."""
    upgraded = replace(ORIGIN, agent_version="9.9", host_name="renamed", detector_id="x")

    assert aggregate.finding_id(ORIGIN, finding()) == aggregate.finding_id(upgraded, finding())


def test_the_id_is_stable_for_ever() -> None:
    """A finding keeps its id over versions of the collector: this one was computed by the first."""
    assert aggregate.finding_id(ORIGIN, finding()) == "99eeee418c5708257efe9bd86a7d3a30"


def test_fields_cannot_imitate_one_another() -> None:
    """A hostile path that contains what looks like the next field is still another finding."""
    honest = finding(process=process(path="/a"), evidence={"domain": "b"})
    hostile = finding(process=process(path='/a", "b'), evidence={"domain": "b"})

    assert aggregate.finding_id(ORIGIN, honest) != aggregate.finding_id(ORIGIN, hostile)


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        pytest.param("", evidence(), id="nothing"),
        pytest.param("example.org", full_evidence(), id="the list entry before all else"),
        pytest.param("a.example", evidence(domain="a.example", library_path="/l.so"), id="domain"),
        pytest.param("/l.so", evidence(library_path="/l.so"), id="library"),
        pytest.param("/etc/passwd", evidence(file_path="/etc/passwd"), id="file"),
        pytest.param("nmap", evidence(tool_name="nmap"), id="tool"),
        pytest.param("/sbin/sshd", evidence(target_process=process(path="/sbin/sshd")), id="target"),
        pytest.param("192.0.2.1", evidence(socket=event_pb2.Socket(remote_address="192.0.2.1")), id="remote address"),
        pytest.param("/x.sh", evidence(script_path="/x.sh"), id="script"),
    ],
)
def test_the_evidence_that_tells_cases_apart(expected: str, given: finding_pb2.Evidence) -> None:
    """One piece of evidence is part of the id, by a fixed order."""
    assert expected == aggregate.distinguishing(given)


def test_a_thousand_names_below_one_listed_domain_are_one_finding() -> None:
    """A program cannot flood the findings by asking for ever new names."""
    threat = finding_pb2.Threat(list_name="pools", entry="example.org")
    made = [finding(evidence={"domain": f"{n}.example.org", "threats": [threat]}) for n in range(1000)]

    assert len({aggregate.finding_id(ORIGIN, one) for one in made}) == 1


def test_counting_up() -> None:
    """Another occurrence raises the count and widens the time seen, in whatever order they arrive."""
    first = aggregate.begin("id", at_ns=NOW_NS, now_ns=NOW_NS + 5)

    later = aggregate.add(first, at_ns=NOW_NS + 10, now_ns=NOW_NS + 11)
    late_comer = aggregate.add(later, at_ns=NOW_NS - 10, now_ns=NOW_NS + 12)

    assert late_comer == aggregate.Aggregate("id", 3, NOW_NS + 5, NOW_NS + 12, NOW_NS - 10, NOW_NS + 10)


def test_a_clock_set_back_does_not_unupdate_a_finding() -> None:
    """updatedAt never moves backwards."""
    first = aggregate.begin("id", at_ns=NOW_NS, now_ns=NOW_NS)

    assert aggregate.add(first, at_ns=NOW_NS, now_ns=NOW_NS - 5).updated_at_ns == NOW_NS
