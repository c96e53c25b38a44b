"""What is found of miners, of offensive tools and of files on lists of malware that are really run."""

from __future__ import annotations

import hashlib
import os
import re
import time
from pathlib import Path

import pytest

from agent import simulate
from agent.pipeline import HASH_WAIT_S
from agent.simulate import execution_malicious_file_executed as malware
from agent.simulate import execution_malicious_file_executed_custom as custom
from agent.simulate._programs import harmless
from tests.system import deeds
from tests.system.deeds import Done
from tests.system.running import Run
from tests.system.test_findings import FILELESS
from tests.system.test_findings import Deed
from tests.system.test_findings import Fired
from tests.system.test_findings import _done_and_found
from tests.system.test_findings import guardduty
from tests.system.test_findings import run
from tests.system.test_findings import test_a_deed_is_found
from tests.system.test_findings import test_a_finding_is_as_guardduty_has_it
from tests.system.test_findings import test_the_arguments_are_in_the_events
from tests.system.test_findings import test_the_arguments_stay_out_of_the_finding
from tests.system.test_findings import test_the_evidence_says_why
from tests.system.test_findings import test_the_hash_is_that_of_what_ran
from tests.system.test_findings import test_the_lineage_begins_with_the_parent
from tests.system.test_findings import test_the_process_started_with_the_deed
from tests.system.test_findings import words

__all__ = (
    "guardduty",
    "run",
    "test_a_deed_is_found",
    "test_a_finding_is_as_guardduty_has_it",
    "test_the_arguments_are_in_the_events",
    "test_the_arguments_stay_out_of_the_finding",
    "test_the_evidence_says_why",
    "test_the_hash_is_that_of_what_ran",
    "test_the_lineage_begins_with_the_parent",
    "test_the_process_started_with_the_deed",
    "words",
)

MALWARE = "Execution:Runtime/MaliciousFileExecuted"
CUSTOM = "Execution:Runtime/MaliciousFileExecuted.Custom"
MINER = "Impact:Runtime/CryptoMinerExecuted"
TOOL = "Execution:Runtime/SuspiciousTool"

LISTED = harmless(malware.TEXT, os.uname().machine)
POOL = ("-o", "stratum+tcp://127.0.0.1:3333", "-u", "nobody")
TRUE_BYTES = Path(deeds.TRUE).read_bytes()


def loader() -> str:
    found = re.search(rb"/lib[^\0]*/ld-[^\0]*", TRUE_BYTES)
    assert found is not None
    return os.path.realpath(found[0].decode("ascii"))


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def ran(name: str, *arguments: str, content: bytes = TRUE_BYTES, context: dict[str, str] | None = None) -> Deed:
    """Return the deed of running a program of this name and content; `DIR` in arguments is where it lies."""

    def deed(directory: Path, word: str) -> Done:
        program = written(directory / name, content)
        filled = [argument.replace("DIR", str(directory)) for argument in arguments]
        pid = deeds.start(program, *filled, word)
        said = {key: value.replace("DIR", str(directory)) for key, value in (context or {}).items()}
        return deeds.on_host(pid, str(program), str(program), context=said)

    return deed


def by(interpreter: str, name: str, *options: str, content: bytes, field: str = "scriptPath") -> Deed:
    """Return the deed of having an interpreter, or the dynamic loader, run what is called so and holds that."""

    def deed(directory: Path, word: str) -> Done:
        given = written(directory / name, content)
        pid = deeds.start(interpreter, *options, given, word)
        return deeds.on_host(pid, interpreter, interpreter, context={field: str(given)})

    return deed


def listed_script(directory: Path, word: str) -> Done:
    """The kernel starts its interpreter."""
    script = written(directory / "x", custom.SCRIPT)
    context = {"scriptPath": str(script), "threatFilePath": str(script)}
    return deeds.on_host(deeds.start(script, word), deeds.SH, deeds.SH, context=context)


def by_another_name(directory: Path, word: str) -> Done:
    """One file, two names: its content is what counts."""
    program = written(directory / "x", LISTED)
    os.link(program, directory / "y")
    pid = deeds.start(directory / "y", word)
    return deeds.on_host(pid, str(directory / "y"), str(program))


def told_its_settings(directory: Path, word: str) -> Done:
    written(directory / "a.json", b'{"pools": [{"url": "127.0.0.1:1"}], "donate-level": 1}')
    return ran("x", "--config=DIR/a.json")(directory, word)


def padded(directory: Path, word: str) -> Done:
    """The word comes first, too: the arguments in the middle are in no event."""
    return ran("x", word, *["y"] * 5_000, *POOL)(directory, word)


FIRING: dict[str, tuple[str, Deed]] = {
    "a listed program": (MALWARE, ran("x", content=LISTED, context={"threatFilePath": "DIR/x"})),
    "a listed program by a hard link": (MALWARE, by_another_name),
    "a listed script": (CUSTOM, listed_script),
    "a listed script of a shell": (CUSTOM, by(deeds.SH, "x.txt", content=custom.SCRIPT, field="threatFilePath")),
    "a miner by its name": (MINER, ran("xmrig", context={"filePath": "DIR/xmrig"})),
    "a renamed miner by its arguments": (MINER, ran("x", *POOL)),
    "… behind 5,000 others": (MINER, padded),
    "a renamed miner by what it holds": (MINER, ran("x", content=TRUE_BYTES + b"donate.v2.xmrig.com")),
    "a renamed miner by its settings": (MINER, told_its_settings),
    "a miner by the dynamic loader": (MINER, by(loader(), "xmrig", content=TRUE_BYTES)),
    "a tool by its name": (TOOL, ran("nmap", context={"toolName": "Nmap", "toolCategory": "Network Scanner"})),
    "a renamed tool by what it holds": (
        TOOL,
        ran("x", content=TRUE_BYTES + b"github.com/jpillora/chisel/", context={"toolName": "Chisel"}),
    ),
}


@pytest.fixture(scope="module", params=FIRING)
def fired(
    run: Run, words: dict[int, str], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Fired:
    """A deed that was done and found."""
    type_, deed = FIRING[request.param]
    one = _done_and_found(run, type_, deed, tmp_path_factory)
    words[one.done.pid] = one.word
    return one


def test_the_entry_of_the_list_is_in_the_evidence(run: Run, tmp_path: Path) -> None:
    """Whoever reads the finding can look the file up."""
    done = FIRING["a listed program"][1](tmp_path, "word")
    details = run.finding(MALWARE, done.pid).document["service"]["evidence"]["threatIntelligenceDetails"]

    assert [hashlib.sha256(LISTED).hexdigest()] == [one["threatFileSha256"] for one in details]
    assert ["Test files of vedette simulate"] == [one["threatListName"] for one in details]


def test_severity_says_what_a_tool_is_for(run: Run, tmp_path: Path) -> None:
    """High when it is made to attack, Low when administrators use it as well."""
    pids = [ran(name)(tmp_path, "word").pid for name in ("nmap", "chisel")]

    assert [2.0, 8.0] == [run.finding(TOOL, pid).document["severity"] for pid in pids]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(("grep", "-q", POOL[1], "/dev/null"), id="one who looks for a pool"),
        pytest.param(("x", "-o", "file", "-u", "user"), id="a file and a user"),
        pytest.param(("x", "-o", "localhost:80", "-u", "user", "-p", "22"), id="another password"),
    ],
)
def test_nothing_is_said_of_what_is_harmless(run: Run, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """When what was done afterwards is found, nothing was said of the near miss."""
    before = len(run.findings)
    pid = ran(arguments[0], *arguments[1:])(tmp_path, "word").pid
    time.sleep(4 * HASH_WAIT_S)
    sentinel = deeds.from_memory("sentinel", "sentinel").pid
    run.finding(FILELESS, sentinel)

    assert [] == [one.type for one in run.findings[before:] if one.process["pid"] == pid]


TRIGGERS = [trigger for trigger in simulate.load() if trigger.finding in {type_ for type_, _ in FIRING.values()}]


@pytest.mark.parametrize("trigger", TRIGGERS, ids=lambda trigger: trigger.finding)
def test_what_simulate_does_is_found(run: Run, trigger: simulate.Trigger) -> None:
    """The deed that an operator can try brings its finding, about the process that it names."""
    deed = trigger.run()

    assert deed.path == run.finding(trigger.finding, deed.pid).process["executablePath"]


def test_every_type_can_be_tried() -> None:
    """There is a trigger for each."""
    assert {type_ for type_, _ in FIRING.values()} == {trigger.finding for trigger in TRIGGERS}
