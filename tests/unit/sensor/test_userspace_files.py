"""What of files is not watched is counted; tests/kernel/test_userspace_files.py has what is."""

from __future__ import annotations

import os

import pytest

from agent.sensor.userspace import roots
from agent.sensor.userspace.files import Files


def test_roots_beyond_those_that_there_is_room_for_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who makes many roots in a container does not hide those of others unnoticed."""
    refused = roots.found(())[1]
    monkeypatch.setattr(roots, "ROOTS", 0)
    found, missed = roots.found(())
    assert {} == found
    assert missed > refused


def test_a_kernel_that_looks_up_no_paths_in_a_root_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker 20.10 refuses openat2: then nothing of a container is watched, and health says so."""
    monkeypatch.setattr(roots, "_OPENAT2", 9_999)  # ENOSYS
    files = Files(())
    try:
        files.look()
        assert files.counts["files_unwatched"] > 0
    finally:
        os.close(files.fileno())
