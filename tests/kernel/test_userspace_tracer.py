"""The source without eBPF: what it sees of processes, and that they do not notice."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kernel.task import Task
from tests.kernel.task import task

MANY = 500  # ten times as many in tests/system/test_fargate.py
BEHAVIOURS = Path(__file__).with_name("behaviours.py")


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Task]:
    """A task with a watcher in it."""
    with task() as made:
        made.watch(tmp_path_factory.mktemp("watched") / "events")
        yield made


@pytest.fixture(scope="module")
def unwatched() -> Iterator[Task]:
    """A task that nobody watches."""
    with task() as made:
        yield made


@pytest.mark.parametrize("name", ["signals", "stops", "jobs", "threads", "starts", "privileges", "debuggers", "itself"])
def test_programs_do_not_notice(watched: Task, unwatched: Task, name: str) -> None:
    line = [sys.executable, str(BEHAVIOURS), name]
    assert unwatched.run(line) == watched.run(line)


def test_every_program_is_seen_however_short_it_runs(watched: Task) -> None:
    loop = f"i=0; while [ $i -lt {MANY} ]; do /bin/true $i; i=$((i+1)); done"
    assert watched.run(["/bin/sh", "-c", loop]).status == 0
    watched.until(lambda event: event["kind"] == "process_exec" and event["args"] == ["/bin/true", str(MANY - 1)])
    seen = {event["args"][1] for event in watched.seen() if event["kind"] == "process_exec" and len(event["args"]) == 2}
    assert {str(number) for number in range(MANY)} <= seen
    counts = [told for told in watched.seen() if told["kind"] == "counts"][-1]
    assert 0 == counts.get("sensor.tracer.failed", 0) == counts.get("decode.malformed", 0)


def test_an_exec_is_as_the_kernel_has_it(watched: Task, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh -e\nexit 0\n")
    script.chmod(0o755)
    line = f"cd {tmp_path}; LD_PRELOAD=/none.so LD_LIBRARY_PATH=/lib SECRET=1 exec ./script one 'two words' </dev/null"
    watched.run(["/bin/sh", "-c", line])
    event = watched.until(lambda event: event.get("filename") == "./script")
    assert ["/bin/sh", "-e", "./script", "one", "two words"] == event["args"]
    assert (os.path.realpath("/bin/sh"), True, str(tmp_path), "script") == (
        event["path"],
        event["interpreted"],
        event["cwd"],
        event["comm"],
    )
    assert ("/none.so", "/lib") == (event["ld_preload"], event["ld_library_path"])
    assert os.stat("/bin/sh").st_ino == event["inode"]
    assert [(0, "device"), (1, "pipe"), (2, "pipe")] == [(one["fd"], one["kind"]) for one in event["stdio"]]
    assert "SECRET" not in str(event)


def test_a_program_in_memory_and_one_without_a_name_are_told_as_such(watched: Task, tmp_path: Path) -> None:
    made = "import os; fd = os.memfd_create('x'); os.write(fd, open('/bin/true', 'rb').read()); "
    code = made + "os.execve(fd, ['in memory'], {})"
    watched.run([sys.executable, "-c", code])
    event = watched.until(lambda event: event.get("args") == ["in memory"])
    assert ("/memfd:x", True, False) == (event["path"], event["memfd"], event["unlinked"])
    gone = tmp_path / "gone"
    gone.write_bytes(Path("/bin/true").read_bytes())
    gone.chmod(0o755)
    watched.run(
        [
            sys.executable,
            "-c",
            f"import os; fd = os.open('{gone}', 0); os.unlink('{gone}'); os.execve(fd, ['no name'], {{}})",
        ]
    )
    event = watched.until(lambda event: event.get("args") == ["no name"])
    assert (str(gone), False, True) == (event["path"], event["memfd"], event["unlinked"])


def test_how_a_process_ended_is_told(watched: Task) -> None:
    watched.run(["/bin/sh", "-c", "sh -c 'exit 41'; sh -c 'kill -9 $$'"])
    started = watched.until(lambda event: event.get("args") == ["sh", "-c", "exit 41"])
    ended = watched.until(lambda event: event["kind"] == "process_exit" and event["tgid"] == started["tgid"])
    assert (41, None, started["started_ns"]) == (ended["exit_code"], ended["signal"], ended["started_ns"])
    started = watched.until(lambda event: event.get("args") == ["sh", "-c", "kill -9 $$"])
    ended = watched.until(lambda event: event["kind"] == "process_exit" and event["tgid"] == started["tgid"])
    assert (None, 9) == (ended["exit_code"], ended["signal"])


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def _tracer_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text(encoding="utf-8").partition("\nTracerPid:")[2].split()[0])


def _wait(condition: object, seconds: float = 20.0) -> None:
    until_s = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < until_s
        time.sleep(0.001)


def _starve(pid: int) -> None:
    """Have the kernel kill a process for want of memory: in a cgroup in which there is none."""
    old = Path("/sys/fs/cgroup/memory")
    cgroup = (old if old.is_dir() else Path("/sys/fs/cgroup")) / f"vedette-test-{pid}"
    limit = cgroup / ("memory.limit_in_bytes" if old.is_dir() else "memory.max")
    cgroup.mkdir()
    try:
        if not limit.exists():
            pytest.skip("no memory controller to make a cgroup with")
        (cgroup / "cgroup.procs").write_text(str(pid))
        limit.write_text("0")
        _wait(lambda: not _is_there(pid))
        told = (cgroup / ("memory.oom_control" if old.is_dir() else "memory.events")).read_text(encoding="ascii")
        assert "oom_kill 1" in told
    finally:
        cgroup.rmdir()


def _is_there(pid: int) -> bool:
    try:
        return _state(pid) not in "ZX"
    except OSError:
        return False


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]


@pytest.mark.parametrize(
    "harm",
    ["kill tracer", "starve tracer", "kill watchdog", "kill agent", "stop tracer", "stop watchdog", "stop agent"],
)
def test_nobody_is_held_up_by_a_tracer_that_dies_or_hangs(tmp_path: Path, harm: str) -> None:
    with task() as made:
        agent = made.pid_outside(made.watch(tmp_path / "events"))
        [watchdog] = _children(agent)
        deed = "pid = os.posix_spawn('/bin/true', ['true'], {}); os.waitpid(pid, 0); os.write(1, b'x')"
        code = f"import os\nwhile True:\n {deed}"
        out = tmp_path / "out"
        started = made.start(["/bin/sh", "-c", f'exec {sys.executable} -c "{code}" >{out}'])
        busy = made.pid_outside(started)
        _wait(lambda: out.exists() and out.stat().st_size > 20)
        tracer = _tracer_of(busy)
        assert tracer in _children(watchdog)
        victim = {"watchdog": watchdog, "agent": agent, "tracer": tracer}[harm.split()[1]]
        if harm.startswith("starve"):
            _starve(victim)
        else:
            os.kill(victim, signal.SIGSTOP if harm.startswith("stop") else signal.SIGKILL)
        if harm not in {"stop watchdog", "stop agent"}:  # then the tracer goes on
            _wait(lambda: _tracer_of(busy) != tracer)
        size = out.stat().st_size
        _wait(lambda: out.stat().st_size > size + 20)
        if victim == tracer:
            _wait(lambda: _tracer_of(busy) != 0)  # the next one took over
            made.run(["/bin/echo", harm])
            made.until(lambda event: event.get("args") == ["/bin/echo", harm])


def test_a_job_that_is_stopped_when_we_come_stays_so_until_it_is_continued(tmp_path: Path) -> None:
    with task() as made:
        out = tmp_path / "out"
        job = made.start(["/bin/sh", "-c", f"kill -STOP $$; echo went on >{out}"])
        outside = made.pid_outside(job)
        _wait(lambda: _state(outside) == "T")
        made.watch(tmp_path / "events")
        _wait(lambda: _tracer_of(outside) != 0)
        time.sleep(0.3)
        assert (_state(outside) in "tT", out.exists()) == (True, False)
        os.kill(outside, signal.SIGCONT)
        _wait(out.exists)


def test_who_is_traced_already_is_left_alone_and_named(tmp_path: Path) -> None:
    with task() as made:
        made.start(["strace", "-o", "/dev/null", "-f", "sleep", "1000"])
        time.sleep(1)
        made.watch(tmp_path / "events")
        counts = made.until(lambda told: told.get("sensor.tracer.alone"))
        assert 1 == counts["sensor.tracer.alone"]


def test_without_the_capability_what_lasts_is_sampled(tmp_path: Path) -> None:
    with task() as made:
        made.watch(tmp_path / "events", "polling")
        made.run(["/bin/sh", "-c", "sleep 0.7 # sampled\nexit 0"])
        event = made.until(lambda event: "sampled" in str(event.get("args")))
        assert ["sampled"] == event["flags"]
        made.until(lambda told: told["kind"] == "process_exit" and told["tgid"] == event["tgid"])
