"""Findings in other shapes, held against the models of those who take them."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator
from py_ocsf_models.events.findings.detection_finding import DetectionFinding

from collector import formats
from collector import guardduty
from collector.formats import asff
from collector.formats import eventbridge
from collector.formats import ocsf
from tests.unit.collector.made import ORIGIN
from tests.unit.collector.made import container
from tests.unit.collector.made import finding
from tests.unit.collector.test_guardduty import EVERYTHING
from tests.unit.collector.test_guardduty import TOTAL

HOSTILE = finding(title="\x1b[31m\u202e" + "x" * 5000, container=container())
FINDINGS = [pytest.param(finding(), id="plain"), pytest.param(EVERYTHING, id="full"), pytest.param(HOSTILE, id="long")]


def document(of: Any) -> dict[str, Any]:
    return guardduty.document(ORIGIN, TOTAL, of)


def faults(service: str, operation: str, parameters: dict[str, Any]) -> str:
    """Return what the service's own model has against a call."""
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    report: str = ParamValidator().validate(parameters, shape).generate_report()
    return report


def test_every_format_is_found_by_its_name() -> None:
    """A format is a file, and no list names it."""
    assert formats.names() == ["asff", "eventbridge", "guardduty", "ocsf"]
    assert formats.renderer("guardduty")({"a": 1}) == {"a": 1}


@pytest.mark.parametrize("of", FINDINGS)
def test_security_hub_takes_it(of: Any) -> None:
    """By botocore's model, and by the limits that the model does not say."""
    made = asff.render(document(of))

    assert faults("securityhub", "BatchImportFindings", {"Findings": [made]}) == ""
    assert (len(made["Title"]) <= 256, len(made["ProductFields"]) <= 50) == (True, True)
    assert all(len(value) <= 2048 for value in made["ProductFields"].values())
    assert made["Types"] == ["TTPs/Command and Control/CryptoCurrency:Runtime-BitcoinTool.B!DNS"]
    assert made["Severity"] == {"Label": "HIGH", "Normalized": 80, "Product": 8.0}
    assert made["Process"]["Name"] == "curl"
    assert made["ProductFields"]["aws/guardduty/service/count"] == "3"


@pytest.mark.parametrize(
    ("expected", "type_"),
    [
        ("Effects/Resource Consumption/UnauthorizedAccess:Runtime-TorClient", "UnauthorizedAccess:Runtime/TorClient"),
        ("Effects/Data Exfiltration/Trojan:Runtime-DropPoint!DNS", "Trojan:Runtime/DropPoint!DNS"),
        ("TTPs/Initial Access/Trojan:Runtime-DriveBySourceTraffic!DNS", "Trojan:Runtime/DriveBySourceTraffic!DNS"),
        ("TTPs/Execution/Execution:Runtime-ReverseShell", "Execution:Runtime/ReverseShell"),
        ("TTPs/Custom:Runtime-mine", "Custom:Runtime/mine"),
    ],
)
def test_types_are_those_of_guardduty_in_security_hub(expected: str, type_: str) -> None:
    """Insights and rules that know GuardDuty's find ours."""
    assert asff.render(document(finding(type=type_)))["Types"] == [expected]


@pytest.mark.parametrize("of", FINDINGS)
def test_ocsf_takes_it(of: Any) -> None:
    """By py-ocsf-models: class 2004, an update after the first occurrence, the process as evidence."""
    made = ocsf.render(document(of))

    DetectionFinding.model_validate(made)
    assert (made["class_uid"], made["type_uid"], made["severity"]) == (2004, 200402, "High")
    process = made["evidences"][0]["actor"]["process"]
    assert (process["name"], process["pid"], process["file"]["path"]) == ("curl", 41, "/usr/bin/curl")


def test_the_same_is_told_from_what_says_more() -> None:
    """A receiver that drops what came twice does not drop what became known of a container at the same count."""
    before, again, more = document(finding()), document(finding()), document(finding(container=container()))
    named = [(ocsf.render(one)["metadata"]["uid"], eventbridge.render(one)["id"]) for one in (before, again, more)]

    assert named[0] == named[1]
    assert not set(named[0]) & set(named[2])


def test_a_first_occurrence_is_created_in_ocsf() -> None:
    """What is new is told from what was seen again."""
    made = document(finding())
    made["service"]["count"] = 1

    assert ocsf.render(made)["type_uid"] == 200401


@pytest.mark.parametrize("of", FINDINGS)
def test_eventbridge_takes_it(of: Any) -> None:
    """The envelope is that of GuardDuty, and its id is the same when it is sent again."""
    made = eventbridge.render(document(of))

    entry = {"Source": "vedette", "DetailType": made["detail-type"], "Detail": json.dumps(made["detail"])}
    assert faults("events", "PutEvents", {"Entries": [entry]}) == ""
    assert (made["source"], made["detail-type"]) == ("aws.guardduty", "GuardDuty Finding")
    assert made["account"] == "111122223333"
    assert made["time"] == "2026-09-01T00:00:01Z"
    assert eventbridge.render(document(of))["id"] == made["id"]
