"""The RPMs, built once for all tests that install them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packaging.images import sh

BUILD = Path(__file__).resolve().parents[2] / "packaging" / "rpm" / "build.sh"
NAMES = """
Name: names-of-this-host
Version: 1
Release: 1
Summary: What this host has under other names
License: CC0-1.0
BuildArch: noarch
Provides: python(abi) = 3.11, python3-bcc, libbpf, systemd, /bin/sh
%description
Names.
%files
"""


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with both packages, and the agent's next release in `next`."""
    out = tmp_path_factory.mktemp("rpm")
    sh("bash", BUILD, "--out", out)
    sh("bash", BUILD, "--out", out / "next", "--only", "agent", "--release", "2")
    return out


@pytest.fixture(scope="session")
def names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a package that has what ours need under the names of distributions with RPM."""
    top = tmp_path_factory.mktemp("names")
    (top / "names.spec").write_text(NAMES)
    sh("rpmbuild", "--quiet", "-bb", "--define", f"_topdir {top}", top / "names.spec")
    (built,) = (top / "RPMS").rglob("*.rpm")
    return built
