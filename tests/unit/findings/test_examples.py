"""Every example of every finding type, run through the classifier with the bundled data."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from agent import findings
from agent import intel
from agent.classify import Classifier
from agent.counters import Counters
from agent.findings import AnyFinding
from agent.findings._base import Example
from agent.model import Event
from agent.model import Finding

TYPES = findings.load()
INTEL = intel.bundled()
NAME = re.compile(r"[A-Za-z]+:Runtime/[A-Za-z&]+(\.[A-Za-z]+)?(!DNS)?")
ATTACK = re.compile(r"T\d{4}(\.\d{3})?")


def cases(*, fire: bool) -> list[object]:
    """Return a case for each example that fires, or for each that must not."""
    return [
        pytest.param(finding, example, id=f"{finding.name} {example.title}")
        for finding in TYPES
        for example in finding.examples
        if example.fires is fire
    ]


def run(finding: AnyFinding, example: Example[Event]) -> list[Finding]:
    counters = Counters()
    classifier = Classifier(
        [finding.accompanied()],
        intel=INTEL,
        benign=findings.known_good(counters),
        sensitivity=example.sensitivity,
        counters=counters,
    )
    return classifier.classify(example.event, example.around)


@pytest.mark.parametrize(("finding", "example"), cases(fire=False))
def test_stays_silent(finding, example):
    """What is ordinary disturbs nobody."""
    assert [] == run(finding, example)


@pytest.mark.parametrize(("finding", "example"), cases(fire=True))
def test_fires(finding, example):
    """What is described as an attack becomes a finding, with a reason that an analyst can read."""
    [found] = run(finding, example)

    assert finding.name == found.type
    assert example.around.actor == found.process
    assert found.evidence.reason
    assert dict(example.shows) == {field: getattr(found.evidence, field) for field in example.shows}


@pytest.mark.parametrize("finding", TYPES, ids=lambda finding: finding.name)
def test_shows_both_sides(finding):
    """Each type shows a situation that fires and one that must not, under a title of its own."""
    titles = [example.title for example in finding.examples]

    assert {True, False} == {example.fires for example in finding.examples}
    assert len(titles) == len(set(titles))


@pytest.mark.parametrize("finding", TYPES, ids=lambda finding: finding.name)
def test_is_declared_in_guardduty_s_words(finding):
    """Name and technique have the form of GuardDuty's and ATT&CK's; examples are of the events listened to."""
    assert NAME.fullmatch(finding.name)
    assert ATTACK.fullmatch(finding.attack)
    assert all(isinstance(example.event, finding.listens_to) for example in finding.examples)


@pytest.mark.parametrize("finding", TYPES, ids=lambda finding: finding.name)
def test_name_and_file_tell_each_other(finding):
    """From the name you can name the file, and back."""
    joined = finding.name.replace(":Runtime/", "_").replace("CryptoCurrency", "Cryptocurrency").replace("C&C", "Cc")
    stem = re.sub(r"[.!]|(?<=[a-z])(?=[A-Z])", "_", joined).lower()

    assert stem == Path(finding.match.__code__.co_filename).stem


GUARDDUTY = {
    "Backdoor:Runtime/C&CActivity.B": "High",
    "Backdoor:Runtime/C&CActivity.B!DNS": "High",
    "CryptoCurrency:Runtime/BitcoinTool.B": "High",
    "CryptoCurrency:Runtime/BitcoinTool.B!DNS": "High",
    "DefenseEvasion:Runtime/FilelessExecution": "Medium",
    "DefenseEvasion:Runtime/KernelModuleLoaded": "High",
    "DefenseEvasion:Runtime/ProcessInjection.Proc": "High",
    "DefenseEvasion:Runtime/ProcessInjection.Ptrace": "Medium",
    "DefenseEvasion:Runtime/ProcessInjection.VirtualMemoryWrite": "High",
    "DefenseEvasion:Runtime/PtraceAntiDebugging": "Low",
    "DefenseEvasion:Runtime/SensitiveFileModified": "Medium",
    "DefenseEvasion:Runtime/SuspiciousCommand": "Variable",
    "Discovery:Runtime/SuspiciousCommand": "Low",
    "Execution:Runtime/MaliciousFileExecuted": "High",
    "Execution:Runtime/MaliciousFileExecuted.Custom": "High",
    "Execution:Runtime/NewBinaryExecuted": "Medium",
    "Execution:Runtime/NewLibraryLoaded": "Medium",
    "Execution:Runtime/ReverseShell": "High",
    "Execution:Runtime/SuspiciousCommand": "Variable",
    "Execution:Runtime/SuspiciousShellCreated": "Low",
    "Execution:Runtime/SuspiciousTool": "Variable",
    "Impact:Runtime/AbusedDomainRequest.Reputation": "Medium",
    "Impact:Runtime/BitcoinDomainRequest.Reputation": "High",
    "Impact:Runtime/CryptoMinerExecuted": "High",
    "Impact:Runtime/MaliciousDomainRequest.Reputation": "High",
    "Impact:Runtime/SuspiciousDomainRequest.Reputation": "Low",
    "Persistence:Runtime/SensitiveFileModified": "Medium",
    "Persistence:Runtime/SuspiciousCommand": "Medium",
    "PrivilegeEscalation:Runtime/CGroupsReleaseAgentModified": "High",
    "PrivilegeEscalation:Runtime/ContainerMountsHostDirectory": "Medium",
    "PrivilegeEscalation:Runtime/DockerSocketAccessed": "Medium",
    "PrivilegeEscalation:Runtime/ElevationToRoot": "Medium",
    "PrivilegeEscalation:Runtime/RuncContainerEscape": "High",
    "PrivilegeEscalation:Runtime/SensitiveFileModified": "Medium",
    "PrivilegeEscalation:Runtime/SuspiciousCommand": "Medium",
    "PrivilegeEscalation:Runtime/UserfaultfdUsage": "Medium",
    "Trojan:Runtime/BlackholeTraffic": "Medium",
    "Trojan:Runtime/BlackholeTraffic!DNS": "Medium",
    "Trojan:Runtime/DGADomainRequest.C!DNS": "High",
    "Trojan:Runtime/DriveBySourceTraffic!DNS": "High",
    "Trojan:Runtime/DropPoint": "Medium",
    "Trojan:Runtime/DropPoint!DNS": "Medium",
    "Trojan:Runtime/PhishingDomainRequest!DNS": "High",
    "UnauthorizedAccess:Runtime/MetadataDNSRebind": "High",
    "UnauthorizedAccess:Runtime/TorClient": "High",
    "UnauthorizedAccess:Runtime/TorRelay": "High",
}
"""The Runtime finding types and their severities, from GuardDuty's user guide (2026-09)."""


def severity_of(finding):
    return "Variable" if finding.severity_rule else finding.severity.name.title()


def test_the_types_are_guardduty_s():
    """A type is there because its file is, under GuardDuty's name and with its severity."""
    assert {finding.name: severity_of(finding) for finding in TYPES}.items() <= GUARDDUTY.items()


MISMATCH = """
from agent.findings import FindingType
from agent.model import Context, DnsQuery, Evidence, ProcessExec, Severity

def match(event: ProcessExec, context: Context) -> Evidence | None:
    return None

FindingType(name="", severity=Severity.LOW, attack="", title="", on=DnsQuery, match=match, examples=())
"""


def test_the_type_checker_ties_event_and_function(tmp_path):
    """A `match` that takes another event than `on` says is found before anything runs."""
    declared = {
        "another": MISMATCH,
        "its_own": MISMATCH.replace("on=DnsQuery", "on=ProcessExec"),
        "one_of_two": MISMATCH.replace("on=DnsQuery", "on=(ProcessExec, DnsQuery)"),
    }
    for stem, source in declared.items():
        (tmp_path / f"{stem}.py").write_text(source)

    command = [sys.executable, "-m", "mypy", f"--cache-dir={tmp_path}/cache", *tmp_path.glob("*.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    refused = re.findall(r'(\w+)\.py:\d+: error: Argument "match" to "FindingType"', done.stdout)
    assert (1, ["another", "one_of_two"]) == (done.returncode, sorted(refused)), done.stdout
