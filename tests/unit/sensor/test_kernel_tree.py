"""Folders for headers: none stays for good, though loaders are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from agent.sensor.ebpf import kernel_tree

KILLED = """
import os, signal, sys
from agent.sensor.ebpf import kernel_tree
with kernel_tree.folder() as made:
    open(made + "/vmlinux.h", "w").close()
    os.utime(made, (0, 0))
    print(made, flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_what_a_killed_loader_left_goes_with_the_next(place: Path) -> None:
    """Not while it lives, and nothing that is not of a loader."""
    (place / "vedette-other").mkdir()
    os.utime(place / "vedette-other", (0, 0))
    loader = subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert loader.stdout is not None
    left = Path(loader.stdout.readline().strip())
    with kernel_tree.folder() as made:
        assert left.exists()
        assert Path(made).parent == place == left.parent
    loader.communicate("")
    assert left.exists()

    with kernel_tree.folder():
        assert not left.exists()
    assert ["vedette-other"] == os.listdir(place)


def test_a_link_is_not_followed(place: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Anybody may write where temporary files are."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    os.utime(elsewhere, (0, 0))
    (place / "vedette-tree-x").symlink_to(elsewhere)
    with kernel_tree.folder():
        pass

    assert elsewhere.exists()
