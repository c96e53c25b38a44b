"""The two commands that a newcomer types, and what happens when the machine is not as they hope."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from agent import findings
from agent import health
from agent import probes
from agent.config import Config
from collector import query
from tests.system.running import WAIT_S
from tests.system.running import Found
from tests.system.running import Run
from tests.system.running import command
from tests.system.running import programs_of
from tests.system.running import vedette
from tests.system.running import wait_for

PROBES = [probe.name for probe in probes.load()]
FINDINGS = [finding.name for finding in findings.load()]
BY_INT_80 = "DefenseEvasion:Runtime/KernelModuleLoaded"  # seen with the compat lane on: test_findings_escape.py
HEALTH = health.beside(Config().lock_file)
UNMAPPED = ("unshare", "--user")  # a user namespace without a mapping: not root, and yet able to read the files
NO_BCC = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /usr/lib/python3/dist-packages && exec "$@"', "sh")
NO_BTF = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /sys/kernel/btf && exec "$@"', "sh")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """`vedette run --json`, ready; it ends cleanly."""
    running = Run(tmp_path_factory.mktemp("run") / "state")
    running.ready()
    yield running
    assert 0 == running.stop(), running.said
    assert not HEALTH.exists()


@pytest.fixture(scope="module")
def deeds(run: Run) -> dict[str, dict[str, Any]]:
    """What `vedette simulate --all` says that it did, by finding, with the pid of simulate itself."""
    process = subprocess.Popen(command("simulate", "--all", "--json"), stdout=subprocess.PIPE, text=True)
    out, _ = process.communicate(timeout=WAIT_S)
    assert 0 == process.returncode
    return {deed["finding"]: deed | {"by": process.pid} for deed in map(json.loads, out.splitlines())}


def test_a_run_says_once_that_it_is_ready(run: Run) -> None:
    """A script knows when to begin, and how many probes are attached."""
    assert [f"ready: {len(PROBES)} of {len(PROBES)} probes attached"] == run.lines("ready")


@pytest.mark.parametrize("type_", [name for name in FINDINGS if name != BY_INT_80])
def test_every_deed_is_found_within_a_second(run: Run, deeds: dict[str, dict[str, Any]], type_: str) -> None:
    """What simulate did appears with the right pid, path, container and ancestors, and at once."""
    deed = deeds[type_]

    found = run.finding(type_, deed["pid"])

    assert deed["path"] in _paths(found)
    assert deed["container"] == found.document["resource"].get("containerDetails", {}).get("id")
    assert deed["by"] in [found.process["pid"], *(one["pid"] for one in found.process["lineage"])]
    assert found.arrived_at_s - _at_s(found) < 1.0


def test_standard_output_has_findings_and_nothing_else(run: Run, deeds: dict[str, dict[str, Any]]) -> None:
    """A program can read standard output line by line."""
    assert deeds
    assert all(line.isascii() and json.loads(line)["schemaVersion"] == "2.0" for line in run.out)


def test_what_was_found_can_be_asked_for(run: Run, deeds: dict[str, dict[str, Any]]) -> None:
    """The state directory and the running collector give the same finding, by type and process."""
    deed = deeds["Execution:Runtime/ReverseShell"]
    run.finding(deed["finding"], deed["pid"])
    filters = ("--json", "--type", "ReverseShell", "--process", str(deed["pid"]), "--since", "1h")

    stored = vedette("findings", *filters, "--state-dir", str(run.state_dir))
    asked = vedette("findings", *filters, "--collector", f"unix://{run.state_dir}/collector.sock")

    assert (0, "") == (stored.returncode, stored.stderr)
    assert stored.stdout == asked.stdout
    assert deed["pid"] == json.loads(stored.stdout)["service"]["runtimeDetails"]["process"]["pid"]


def test_what_happened_can_be_asked_for(run: Run, deeds: dict[str, dict[str, Any]]) -> None:
    """The exec behind a finding is among the events, with its arguments, which the finding must not have."""
    deed = deeds["Execution:Runtime/NewBinaryExecuted"]
    filters = ("--type", "process_exec", "--process", str(deed["pid"]), "--state-dir", str(run.state_dir))

    def look() -> list[dict[str, Any]]:
        done = vedette("events", "--json", *filters)
        return [json.loads(line) for line in done.stdout.splitlines()]

    wait_for(lambda: deed["path"] in [row["process_exec"]["path"] for row in look()])
    table = vedette("events", *filters)

    assert "TIME" == table.stdout.split()[0]
    assert deed["path"] in table.stdout


def test_secrets_in_arguments_are_not_kept(run: Run) -> None:
    """Who asks what happened learns that there was a password."""
    process = subprocess.Popen(["/bin/true", "--password", "hunter2"])
    process.wait()
    filters = ("--type", "process_exec", "--process", str(process.pid), "--state-dir", str(run.state_dir))

    def look() -> list[list[str]]:
        done = vedette("events", "--json", *filters)
        return [json.loads(line)["process_exec"]["args"] for line in done.stdout.splitlines()]

    wait_for(look, run.said)
    assert [["/bin/true", "--password", "***"]] == look()


def test_nothing_found_is_said(run: Run) -> None:
    """An empty answer is told from a broken pipe."""
    done = vedette("findings", "--process", "no such process", "--state-dir", str(run.state_dir))

    assert (0, "", "no findings\n") == (done.returncode, done.stdout, done.stderr)


def test_doctor_works_beside_a_running_agent(run: Run) -> None:
    """The doctor attaches every probe once more, says so, leaves the agent's alone, and says what that has counted."""
    agent = run.child("agent")
    held = programs_of(agent.pid)
    wait_for(HEALTH.exists)

    done = vedette("doctor", "--json")

    report = json.loads(done.stdout)
    assert (agent.pid, True) == (report["health"]["pid"], report["agent"]["ok"])
    assert {f"sensor.{name}.failed" for name in PROBES} < set(report["health"]["counters"])
    assert PROBES == [probe["name"] for probe in report["health"]["probes"]]
    assert 0 == done.returncode, report
    assert PROBES == [probe["name"] for probe in report["probes"]]
    assert {"attached"} == {probe["status"] for probe in report["probes"]}
    assert [] == report["blind_findings"]
    assert held <= programs_of(agent.pid)  # those for 32-bit programs are loaded a little later


def test_the_store_knows_how_the_agent_is(run: Run) -> None:
    """Asked for its health, an agent says what is attached, and what its memory is spent on, table by table."""

    def health() -> dict[str, Any]:
        [agent] = query.agents(run.state_dir)
        return agent

    wait_for(lambda: health()["counters"].get("enrich.held_living", 0) > 0, health)

    assert [(name, True, []) for name in PROBES] == [
        (probe["name"], probe["attached"], probe["blind_findings"]) for probe in health()["probes"]
    ]


def test_our_own_files_are_not_reported(run: Run, deeds: dict[str, dict[str, Any]]) -> None:
    """The collector's files are not events, which would make more files."""
    assert deeds
    for process in (run.child("collector"), run.child("agent"), psutil.Process(run.process.pid)):
        filters = ("--type", "file_open", "--process", str(process.pid))
        done = vedette("events", "--json", *filters, "--state-dir", str(run.state_dir))
        assert "" == done.stdout


def test_the_socket_is_for_its_owner_alone(run: Run) -> None:
    """Nobody else on this host reads what was found, or sends events of their own making."""
    assert 0o600 == (run.state_dir / "collector.sock").stat().st_mode & 0o777
    assert 0o700 == run.state_dir.stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("before", "said"),
    [
        pytest.param(UNMAPPED, "vedette: eBPF probes need root: run it with sudo", id="not root"),
        pytest.param(NO_BTF, "vedette: the kernel has no BTF (/sys/kernel/btf/vmlinux is missing): boot", id="no BTF"),
        pytest.param(NO_BCC, "vedette: bcc for Python was not found", id="no bcc"),
    ],
)
def test_what_is_missing_is_one_line(tmp_path: Path, before: tuple[str, ...], said: str) -> None:
    """A host that cannot do it gets told in a line what to do, and nothing was started."""
    done = vedette("run", "--state-dir", str(tmp_path / "state"), before=before)

    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n")), done.stderr
    assert done.stderr.startswith(said)
    assert not (tmp_path / "state").exists()


def test_a_doctor_who_is_not_root_says_what_needs_it() -> None:
    """Without root the doctor tells what can be told, and that the rest cannot."""
    done = vedette("doctor", "--json", before=UNMAPPED)

    report = json.loads(done.stdout)
    assert 2 == done.returncode
    assert {"unknown"} == {probe["status"] for probe in report["probes"]}
    assert report["btf"]["ok"]
    assert ["root: run it with sudo"] == report["advice"]


def test_a_doctor_without_bcc_names_the_package() -> None:
    """The advice is a package to install, and what stays unseen until then is listed."""
    done = vedette("doctor", "--json", before=NO_BCC)

    report = json.loads(done.stdout)
    assert 1 == done.returncode
    assert FINDINGS == report["blind_findings"]
    assert any("python3-bpfcc" in sentence for sentence in report["advice"])


def test_a_state_directory_that_cannot_be_written_is_one_line() -> None:
    """Nothing is started on a directory that takes no file."""
    done = vedette("run", "--state-dir", "/proc/vedette")

    assert (2, "", 1) == (done.returncode, done.stdout, done.stderr.count("\n")), done.stderr
    assert done.stderr.startswith("vedette: the state directory /proc/vedette cannot be written: ")


def _paths(found: Found) -> tuple[str | None, ...]:
    context = found.document["service"]["runtimeDetails"]["context"]
    named = [value for value in context.values() if isinstance(value, str)]
    return (found.process["executablePath"], *named)


def _at_s(found: Found) -> float:
    return datetime.fromisoformat(found.document["service"]["eventLastSeen"]).timestamp()
