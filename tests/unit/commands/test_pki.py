"""`vedette pki` as an operator has it: files, sentences, exit statuses."""

from __future__ import annotations

import re
import ssl
import stat
from pathlib import Path

import pytest

from agent.cli import main
from agent.deliver.target import Target


@pytest.fixture
def pki(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Make an authority; return the option that names it."""
    options = ["--directory", str(tmp_path / "pki")]
    assert 0 == main(["pki", "init", *options])
    assert "made an authority" in capsys.readouterr().out
    return options


def test_both_ends_can_use_what_is_made(pki: list[str], tmp_path: Path) -> None:
    """The agent takes its files as they are, and a server the collector's."""
    assert 0 == main(["pki", "agent", "i-1", *pki, "--out", str(tmp_path / "agent")])
    assert 0 == main(["pki", "collector", "localhost", "127.0.0.1", *pki, "--out", str(tmp_path / "collector")])
    agent, collector = tmp_path / "agent", tmp_path / "collector"
    Target.parse("collector.example:4250", ca=agent / "ca.pem", cert=agent / "i-1.pem", key=agent / "i-1.key")
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(collector / "collector.pem", collector / "collector.key")

    assert 0o600 == stat.S_IMODE((agent / "i-1.key").stat().st_mode)


def test_a_key_that_was_open_is_closed(pki: list[str], tmp_path: Path) -> None:
    """Written over a file that others may read, it is read by nobody else."""
    key = tmp_path / "i-1.key"
    key.touch(mode=0o644)
    assert 0 == main(["pki", "agent", "i-1", *pki, "--out", str(tmp_path)])
    assert 0o600 == stat.S_IMODE(key.stat().st_mode)


def test_the_list_says_what_is_good(pki: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name, with the state of each."""
    out = ["--out", str(tmp_path)]
    for name, days in (("i-good", "90"), ("i-soon", "3"), ("i-lost", "91")):
        assert 0 == main(["pki", "agent", name, *pki, *out, "--days", days])
    assert 0 == main(["pki", "revoke", "i-lost", *pki])
    capsys.readouterr()
    assert 0 == main(["pki", "list", *pki])
    lines = capsys.readouterr().out.splitlines()

    assert ["agent i-soon", "agent i-good", "agent i-lost"] == [" ".join(line.split()[:2]) for line in lines]
    assert ["2 days", "good", "revoked"] == [re.split(r"\s{2,}", line.partition("until ")[2])[1] for line in lines]


def test_refusals_are_one_line(pki: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With the file or name, and what to do."""
    for arguments, said in (
        (["init", *pki], "is there already"),
        (["agent", "\x1b[2J", *pki], "cannot be a certificate's name"),
        (["revoke", "i-1", *pki], "names no certificate"),
        (["list", "--directory", str(tmp_path / "none")], "vedette pki init"),
        (["agent", "i-1", *pki, "--out", str(tmp_path / "pki" / "ca.pem")], "ca.pem"),
    ):
        assert 2 == main(["pki", *arguments])
        error = capsys.readouterr().err
        assert (1, True, False) == (error.count("\n"), said in error, "\x1b" in error), error
