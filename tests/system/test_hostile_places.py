"""Started in a directory, or on one, that somebody else prepared."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.running import WAIT_S
from tests.system.running import command

VEDETTE = str(Path(sys.executable).with_name("vedette"))
NOBODY = 65534
TRAP = "from pathlib import Path; Path({sprung!r}).touch()\n"


def test_what_lies_in_the_current_directory_is_not_run(tmp_path: Path) -> None:
    """Root may call `vedette run` in a folder of anybody's."""
    folder, sprung = tmp_path / "folder", tmp_path / "sprung"
    folder.mkdir()
    for module in ("agent", "collector", "msgspec", "grpc", "json"):
        (folder / f"{module}.py").write_text(TRAP.format(sprung=str(sprung)))
    line = [VEDETTE, "run", "--json", "--duration", "1", "--state-dir", str(tmp_path / "state")]
    ran = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, timeout=WAIT_S)

    assert (0, False) == (ran.returncode, sprung.exists()), ran.stderr


@pytest.mark.parametrize("subcommand", ["run", "agent", "collector"])
@pytest.mark.parametrize(
    ("owner", "mode"), [pytest.param(NOBODY, 0o700, id="owned by others"), pytest.param(0, 0o777, id="open to others")]
)
def test_a_state_directory_that_is_not_ours_alone_is_refused(
    subcommand: str, owner: int, mode: int, tmp_path: Path
) -> None:
    """Nobody leads what root writes to another file by a link that waits in the state directory."""
    state, victim = tmp_path / "state", tmp_path / "victim"
    state.mkdir()
    victim.write_text("precious")
    for name in ("agent.toml", "collector.toml", "collector.lock", ".writable", "spool.sqlite", "collector.db"):
        (state / name).symlink_to(victim)
    state.chmod(mode)
    os.chown(state, owner, owner)
    config = tmp_path / "config.toml"
    listen = (
        f'listen = "unix://{tmp_path}/socket"\n' if subcommand == "collector" else f'lock_file = "{tmp_path}/lock"\n'
    )
    config.write_text(f'state_dir = "{state}"\n{listen}')
    options = ("--state-dir", str(state)) if subcommand == "run" else ("--config", str(config))
    ran = subprocess.run(command(subcommand, *options), capture_output=True, text=True, check=False, timeout=WAIT_S)

    assert (2, 1, "precious") == (ran.returncode, len(ran.stderr.splitlines()), victim.read_text()), ran.stderr
    assert "not ours alone" in ran.stderr
