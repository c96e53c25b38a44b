"""The doctor's report, from what was found out."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import msgspec
import pytest

from agent import findings
from agent import health
from agent import probes
from agent.commands import _checks
from agent.commands import _compat
from agent.commands import _running
from agent.commands import _sources
from agent.commands import doctor
from agent.commands._check import Check
from agent.config import Config
from agent.errors import HostUnsupported
from agent.health import Health
from agent.model import ProbeStatus
from agent.probes import prices
from agent.sensor.ebpf import compat
from agent.terminal import json_line

PROBES = [probe.name for probe in probes.load()]
LANES = {probe.name: probe.lanes[0].name for probe in probes.load()}
FINE = {"root": Check(ok=True, detail="uid 0"), "cgroup2": Check(ok=None, detail="not mounted")}

SAID = Health(
    pid=4711,
    agent_version="0.1.0",
    boot_id="b",
    time_ns=time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    resident_bytes=40 << 20,
    probes=(),
    counters={
        "decode.events": 1195,
        "decode.malformed": 2,
        "decode.malformed.dns_query": 2,
        "reader.records": 1197,
        "sensor.file_open.throttled": 9,
        "sensor.mount.failed": 3,
        "sensor.mount.repeated": 5,
        "sensor.mount.submitted": 1200,
        "sensor.ptrace.submitted": 0,
    },
)


def statuses(*unavailable: str) -> tuple[ProbeStatus, ...]:
    """Return what became of each probe."""
    return tuple(
        ProbeStatus(name=name, attached=False, reason="EPERM\x1b")
        if name in unavailable
        else ProbeStatus(name=name, attached=True, lane=lane)
        for name, lane in LANES.items()
    )


def test_a_host_that_lacks_nothing_is_healthy() -> None:
    """All probes attached, and nothing to do; what does not matter here is no fault."""
    report = doctor.examined(FINE, statuses())

    assert report.healthy
    assert ((), ()) == (report.blind_findings, report.advice)


def test_the_settings_say_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runtimes and lock are those of the agent's settings, of the usual file when none is named."""
    settings, usual = tmp_path / "mine.toml", tmp_path / "agent.toml"
    settings.write_text(f'lock_file = "{tmp_path}/lock"\n[containers]\ndocker_sockets = ["{tmp_path}/docker.sock"]\n')
    monkeypatch.setattr(doctor, "USUAL_SETTINGS", usual)
    none, config = doctor.read_settings(None)
    assert (none.ok, config) == (None, Config())
    _, config = doctor.read_settings(settings)
    assert config.lock_file == tmp_path / "lock"
    assert [tmp_path / "docker.sock"] == list(config.containers.docker_sockets)
    settings.rename(usual)
    said, again = doctor.read_settings(None)

    assert (said.ok, again) == (True, config)


@pytest.mark.parametrize("text", ["nonsense = 1", "[containers", None], ids=["a key too many", "no TOML", "no file"])
def test_bad_settings_are_a_fault_of_their_own(text: str | None, tmp_path: Path) -> None:
    """The rest of the host is looked at all the same; what is wrong with the file stands under advice."""
    file = tmp_path / "agent.toml"
    if text is not None:
        file.write_text(text)
    said, config = doctor.read_settings(file)

    assert (said.ok, config) == (False, Config())
    assert str(file) in str(said.advice)


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

    assert {"root", "cgroup2", "probes", "blind_findings", "without_ebpf", "advice", "health"} == set(document)
    assert {"name", "status", "lane", "price", "reason", "unseen"} <= set(document["probes"][0])
    assert ["UNAVAILABLE", "process_exec EPERM\\x1b"] == [
        " ".join(line.split()) for line in text.partition("leaves unseen:\n")[2].splitlines()[:2]
    ]
    assert all(line.isprintable() for line in text.splitlines())


def test_each_probe_stands_once_below_its_lane_and_price() -> None:
    """One table that fits a screen: of every probe the lane, what that costs, and what it leaves unseen."""
    rows = doctor.text(doctor.examined(FINE, statuses())).partition("leaves unseen:\n")[2].partition("Prices")[0]
    heading, told, prices_told = "", {}, set()
    for line in rows.splitlines():
        assert len(line) <= 100
        if not line.startswith(" "):
            heading = line
            prices_told.add(heading)
        elif line[2] != " ":
            told[line.split()[0]] = heading

    assert set(PROBES) == set(told)
    assert len(prices_told) < len(PROBES) / 3
    assert re.fullmatch(r"by raw tracepoint: 0\.\d\d us an event", told["process_exec"])
    assert re.fullmatch(r"by system call exit: 0\.\d\d us a hooked call, 0\.\d\d us any other call", told["mount"])
    assert "io_uring" in next(line for line in rows.splitlines() if line.startswith("  net_listen "))


@pytest.mark.parametrize(
    ("refused", "counted", "ok", "said"),
    [
        pytest.param(None, None, None, "needs root", id="not tried"),
        pytest.param("EPERM", None, False, "EPERM", id="refused"),
        pytest.param("", None, True, "by default while one runs, for 0.15 us every system call", id="no agent"),
        pytest.param("", {}, True, 'unseen, and int 0x80 with them: the agent has compat = "off"', id="off"),
        pytest.param("", {"sensor.compat_attached": 1}, True, "watched now", id="attached"),
        pytest.param("", {"sensor.compat_attached": 0}, True, "none runs", id="not attached"),
    ],
)
def test_whether_32_bit_programs_are_watched(
    monkeypatch: pytest.MonkeyPatch,
    refused: str | None,
    counted: dict[str, int] | None,
    ok: bool | None,  # noqa: FBT001  # pytest's way
    said: str,
) -> None:
    """The choice is what the running agent has; its price and what is unseen stand beside it."""
    monkeypatch.setattr(compat, "absent", str)
    agent = None if counted is None else msgspec.structs.replace(SAID, counters=counted)
    answer = _compat.check(agent, refused)

    assert ok is answer.ok
    assert said in answer.detail
    assert (answer.advice is not None) == (ok is False)


def test_where_nothing_can_be_watched_that_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel without 32-bit programs, and a machine that is not x86-64, lack nothing."""
    monkeypatch.setattr(compat, "absent", lambda: "this kernel runs none")

    assert Check(ok=None, detail="this kernel runs none") == _compat.check(SAID, "")


def test_every_kind_of_hook_has_its_price() -> None:
    """Whatever a probe hooks up to, an operator is told what that costs, and the page says the same."""
    hooked = {hook.kind for probe in probes.load() for lane in probe.lanes for hook in lane.hooks}
    page = (Path(__file__).parents[3] / "docs/architecture.md").read_text(encoding="utf-8")
    written = dict(re.findall(r"^\| [^|]+ \| `(\w+)` \| (\d+) ns", page, re.MULTILINE))

    assert hooked == set(prices.PRICES)
    assert {kind: str(price.ns) for kind, price in prices.PRICES.items()} == written


def test_what_an_agent_counted_is_shown_kind_by_kind() -> None:
    """Who looks at three in the morning sees what was lost, of what, and what to do; and nothing of what is quiet."""
    report = doctor.examined(FINE, statuses(), SAID)

    text = doctor.text(report)
    rows = [line.split() for line in text.splitlines()]

    assert ["mount", "1,200", "3", "-", "-", "5", "-", "-"] in rows
    assert ["dns_query", "-", "-", "-", "-", "-", "2", "-"] in rows
    assert ["file_open", "-", "-", "-", "-", "-", "-", "9"] in rows
    assert "ptrace" not in text.partition("counted")[2]
    assert "1,197 records read, 1,195 events decoded, 2 unreadable" in text
    assert "and nothing of 1 more" in text
    assert all(len(line) <= 100 for line in text.partition("counted")[2].splitlines())
    assert ["agent: a ring had no room: raise [sensor] lifecycle_ring_mib or activity_ring_mib"] == list(report.advice)
    assert 3 == json.loads(json_line(doctor.document(report)))["health"]["counters"]["sensor.mount.failed"]


def test_what_an_agent_does_not_see_is_shown_with_what_goes_blind() -> None:
    """Who switched a kind off, or left it out, reads so, with the findings that cannot fire."""
    off = ProbeStatus(name="dns_query", attached=False, reason="switched off", blind_findings=("Trojan:A", "Trojan:B"))
    on = ProbeStatus(name="mount", attached=True, lane="system call exit")
    report = doctor.examined(FINE, statuses(), msgspec.structs.replace(SAID, probes=(off, on)))

    rows = doctor.text(report).partition("What it does not see:\n")[2].splitlines()
    assert ["dns_query switched off", "blind: Trojan:A, Trojan:B", ""] == [" ".join(row.split()) for row in rows[:3]]
    assert ("Trojan:A", "Trojan:B") == report.blind_findings
    assert "does not see" not in doctor.text(doctor.examined(FINE, statuses(), SAID))


def test_a_probe_that_the_agent_lacks_is_told_with_what_goes_blind() -> None:
    """The doctor may be able to attach what the agent could not, or lost: what counts is what watches."""
    blind = findings.blind(findings.load(), ["net_connect"])
    stands = (
        ProbeStatus(name="mount", attached=False, reason="left out in [sensor] probes"),
        ProbeStatus(name="net_bind", attached=True, lane="cgroup", reason="bind4 was detached; mended\x1b"),
        ProbeStatus(name="net_connect", attached=False, reason="does not compile", blind_findings=blind),
        ProbeStatus(name="ptrace", attached=True, lane="system call exit"),
    )
    report = doctor.examined(FINE, statuses(), msgspec.structs.replace(SAID, probes=stands))

    said = doctor.text(report).partition("What it does not see:\n")[2].partition("Findings that go blind")[0]
    lacking, done = (" ".join(part.split()) for part in said.split("What was done to it:"))

    assert lacking.endswith(f"net_connect does not compile blind: {', '.join(blind)}")
    assert "net_bind bind4 was detached; mended\\x1b" == done
    assert "ptrace" not in said
    assert (False, blind) == (report.healthy, report.blind_findings)
    assert any("net_connect are not attached there" in sentence for sentence in report.advice)


def test_a_probe_that_was_left_out_is_no_fault() -> None:
    """What the operator did not want is not missing."""
    left_out = (ProbeStatus(name="mount", attached=False, reason="left out in [sensor] probes"),)
    report = doctor.examined(FINE, statuses(), msgspec.structs.replace(SAID, probes=left_out, counters={}))

    assert report.healthy
    assert ((), ()) == (report.blind_findings, report.advice)
    assert "left out in [sensor] probes" in doctor.text(report)


def test_how_old_that_is_is_said(tmp_path: Path) -> None:
    """An agent that hangs or was killed does not look well; none at all is no fault, nor is one before the boot."""
    file = tmp_path / "health.json"
    assert ("none runs here", None) == (_running.ask(file, "b")[0].detail, _running.ask(file, "b")[1])

    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    now = msgspec.structs.replace(SAID, time_ns=now_ns)
    health.write(file, now)
    check, said = _running.ask(file, "b")
    assert (True, now) == (check.ok, said)

    health.write(file, msgspec.structs.replace(SAID, time_ns=now_ns - 60_000_000_000))
    check, said = _running.ask(file, "b")
    assert (False, SAID.counters) == (check.ok, said and said.counters)
    assert re.fullmatch(r"pid 4711 said \d+ s ago how it is", check.detail)
    assert not doctor.examined({"agent": check}, statuses(), said).healthy

    check, said = _running.ask(file, "another")
    assert (None, None) == (check.ok, said)
    file.write_text("{}")
    check, said = _running.ask(file, "b")
    assert (None, None) == (check.ok, said)
    assert "is not what an agent says" in check.detail


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


def test_without_ebpf_it_tells_what_each_finding_loses() -> None:
    """What nothing but eBPF gives stands in one paragraph, and each finding is given fully, partly or not."""
    report = doctor.examined(FINE, _sources.would_be(probes.load()))

    text = doctor.text(report)

    assert report.without_ebpf is not None
    assert {"fully", "partly", "not"} == {one.given for one in report.without_ebpf.values()}
    assert 1 == text.count("cannot be seen without eBPF")
    assert "0.5 to 1 ms each start of a program" in text or "2 % of a processor" in text
    assert "Execution:Runtime/NewBinaryExecuted" in text.partition("findings fully without eBPF")[2]
