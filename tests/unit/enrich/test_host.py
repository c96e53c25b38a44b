from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent.enrich.host import machine_id
from agent.enrich.host import os_name
from agent.enrich.host import this_host
from tests.unit.enrich.made import Tree

GOOD = "3d1219c7c4c5404aaa1f6d2a48adfda4"


@pytest.mark.parametrize("text", ["", "uninitialized\n", "0" * 32, GOOD[:-1], GOOD.upper(), "../../etc/passwd", None])
def test_a_machine_id_that_says_nothing_is_replaced(tmp_path: Path, text: str | None) -> None:
    """Images that were never booted, all with one id, do not look like one host to the collector."""
    path = tmp_path / "machine-id"
    if text is not None:
        path.write_text(text)
    first, second = machine_id(path, "a"), machine_id(path, "b")

    assert first != second
    assert first == machine_id(path, "a")
    assert len(first) == 32


def test_the_machine_id_names_the_host(tmp_path: Path) -> None:
    """A host keeps its identity when it is renamed."""
    path = tmp_path / "machine-id"
    path.write_text(GOOD + "\n")

    assert GOOD == machine_id(path, "a") == machine_id(path, "b")


def test_host_facts(tree: Tree, tmp_path: Path) -> None:
    """Boot and namespaces come from /proc, the rest from uname."""
    tree.add(1, 1, mnt=5, pid=6)
    host = this_host(tree.procfs(), tmp_path / "none")

    assert ("0e89343e-02fe-4b05-bbce-c0e4104c31ee", 5, 6) == (host.boot_id, host.mnt_ns, host.pid_ns)
    assert (os.uname().release, os.uname().machine) == (host.kernel, host.architecture)


def test_this_very_host() -> None:
    """Without arguments it is the machine we run on, the same twice."""
    assert this_host() == this_host()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('NAME="x"\nPRETTY_NAME="Amazon Linux 2023"\n', "Amazon Linux 2023"),
        ("PRETTY_NAME=Alpine\n", "Alpine"),
        ("NAME=x\n", None),
        ("", None),
        (None, None),
    ],
)
def test_the_distribution_has_a_name(tmp_path: Path, text: str | None, name: str | None) -> None:
    """As os-release says it for people; a host without that file has none."""
    path = tmp_path / "os-release"
    if text is not None:
        path.write_text(text)

    assert name == os_name(path)
