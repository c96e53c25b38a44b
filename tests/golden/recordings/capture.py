"""Make the golden recordings anew: `sudo .venv/bin/python -m tests.golden.recordings.capture [NAME…]`.

Each of DEEDS is done under the real sensor by the system's own Python, so that no directory of whoever runs this stands
in a record.  Kept is what descends from it, as NAME.vdt, with what names the host blanked; what that replays to is
NAME.json, which tests/unit/commands/test_replay.py compares from then on.  Look at the difference before you commit it:
a capture writes what the code says today.  NAMEs are all or some of DEEDS, without them all are captured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec

from agent import probes
from agent.counters import Counters
from agent.decode import Decoder
from agent.model import Event
from agent.model import ProcessFork
from agent.recording import Recorder
from agent.recording import Recording

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
READY = b"ready"
DEEDS = {
    "simulated": """
from agent import simulate
few = ("NewBinaryExecuted", "NewLibraryLoaded", "FilelessExecution", "ReverseShell", "BitcoinTool.B!DNS")
for trigger in simulate.load():
    if trigger.finding.rpartition("/")[2] in few:
        print(trigger.run().note)
""",
    "compiled": """
from agent.simulate._container import running_container
compile = "echo 'int main(void) { return 0; }' > /tmp/a.c && gcc -o /tmp/a /tmp/a.c && exec /tmp/a"
with running_container() as container:
    assert container.exec(["/bin/sh", "-c", compile]).status == 0
""",
}
"""What `vedette simulate` does, for one type of each stage; and what is a finding at high sensitivity only."""
TIMEOUT_S = 60.0


def vedette(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "agent", *arguments]


def recorded(path: Path, deed: str) -> int:
    """Record into `path` while a deed is done; return the pid that did it."""
    recorder = subprocess.Popen(vedette("record", str(path)), cwd=ROOT, stderr=subprocess.PIPE)
    assert recorder.stderr is not None
    assert recorder.stderr.readline().startswith(READY)
    environment = {"PATH": os.defpath, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    doer = subprocess.Popen([SYSTEM_PYTHON, "-c", deed], cwd="/", env=environment)
    assert doer.wait(TIMEOUT_S) == 0
    recorder.terminate()
    sys.stderr.buffer.write(recorder.communicate(timeout=TIMEOUT_S)[1])
    assert recorder.returncode == 0
    return doer.pid


def descending(recording: Recording, pid: int) -> list[bytes]:
    """Return the records of a process and of all that it started, in order."""
    decode = Decoder(probes.load(), Counters(), recording.about.boot_at_ns)
    family = {pid}
    kept = []
    for record in recording.records():
        event: Event | None = decode(record)
        if event is None or event.tgid not in family:
            continue
        kept.append(record)
        if isinstance(event, ProcessFork):
            family.add(event.child_tgid)
    return kept


def capture(made: Path, deed: str) -> None:
    """Capture a recording and what it comes to."""
    with tempfile.TemporaryDirectory() as directory:
        pid = recorded(Path(directory) / "all.vdt", deed)
        with (Path(directory) / "all.vdt").open("rb") as file:
            recording = Recording(file, file.name)
            kept = descending(recording, pid)
    assert recording.end is not None
    host = msgspec.structs.replace(recording.about.host, id="0" * 32, name="golden", boot_id="0", kernel="6.18")
    made.unlink(missing_ok=True)
    recorder = Recorder(made, msgspec.structs.replace(recording.about, host=host), limit_bytes=1 << 20)
    assert all(recorder.write(record) for record in kept)
    recorder.end(recording.end)
    made.chmod(0o644)
    told = subprocess.run(vedette("replay", str(made), "--json"), cwd=ROOT, check=True, stdout=subprocess.PIPE)
    documents = [json.loads(line) for line in told.stdout.splitlines()]
    made.with_suffix(".json").write_text(json.dumps(documents, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    for name in sys.argv[1:] or DEEDS:
        capture(HERE / f"{name}.vdt", DEEDS[name])
