"""The authority: what it signs, takes back and hands over, read by OpenSSL's own rules."""

from __future__ import annotations

import datetime as dt
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from collector.authority import Authority
from collector.certificates import Role
from collector.certificates import Wish
from collector.certificates import revoked_in
from collector.errors import ConfigError
from collector.errors import StateError

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "pki")
    made.init("test")
    return made


def verified(authority: Authority, certificate: bytes, purpose: str) -> bool:
    """Ask OpenSSL, with the revocation lists."""
    folder = authority.bundle.parent
    path = folder / "asked.pem"
    path.write_bytes(certificate)
    options = ("-crl_check", "-CRLfile", folder / "crl.pem", "-CAfile", authority.bundle, "-purpose", purpose)
    return 0 == subprocess.run(("openssl", "verify", *options, path), check=False, capture_output=True).returncode


@pytest.mark.parametrize(
    ("role", "purpose", "good"),
    [
        (Role.AGENT, "sslclient", True),
        (Role.AGENT, "sslserver", False),
        (Role.READER, "sslclient", True),
        (Role.COLLECTOR, "sslserver", True),
        (Role.COLLECTOR, "sslclient", False),
    ],
)
def test_a_certificate_is_good_for_one_side(authority: Authority, role: Role, purpose: str, *, good: bool) -> None:
    """An agent's cannot pose as a collector, nor the other way round."""
    assert good == verified(authority, authority.issue(Wish(role, ("i-1",), 1)).certificate, purpose)


def test_what_is_revoked_is_listed_by_name_and_serial(authority: Authority) -> None:
    """All of a name at once; the rest stays good."""
    first, second, other = (authority.issue(Wish(Role.AGENT, (name,), 1)).certificate for name in ("i-1", "i-1", "i-2"))
    assert 2 == len(authority.revoke("i-1"))
    assert [False, False, True] == [verified(authority, one, "sslclient") for one in (first, second, other)]
    (serial,) = (entry.serial for entry in authority.entries() if entry.name == "i-2")
    assert ["i-2"] == [entry.name for entry in authority.revoke(serial)]
    assert {"i-1": True, "i-2": True} == {entry.name: entry.revoked for entry in authority.entries()}
    with pytest.raises(ConfigError, match="revoked already"):
        authority.revoke("i-1")
    with pytest.raises(ConfigError, match="names no certificate"):
        authority.revoke("i-3")


def test_a_revocation_keeps_its_date(tmp_path: Path) -> None:
    """A list that is written anew says when each was revoked, not when it was written."""
    Authority(tmp_path, NOW).init("test")
    for name, days in (("i-1", 0), ("i-2", 3)):
        later = Authority(tmp_path, NOW + dt.timedelta(days=days))
        later.issue(Wish(Role.AGENT, (name,), 30))
        later.revoke(name)

    assert [NOW, NOW + dt.timedelta(days=3)] == sorted(revoked_in((tmp_path / "crl.pem").read_bytes()).values())


def test_the_next_authority_takes_over_in_two_steps(authority: Authority) -> None:
    """Both are trusted until the old one is retired; what it revoked stays revoked meanwhile."""
    old, bad = (authority.issue(Wish(Role.AGENT, (name,), 1)).certificate for name in ("i-1", "i-bad"))
    authority.revoke("i-bad")
    authority.rotate()
    new = authority.issue(Wish(Role.AGENT, ("i-2",), 1)).certificate
    assert [True, False, True] == [verified(authority, one, "sslclient") for one in (old, bad, new)]
    assert ["i-1", "i-bad"] == authority.retire()
    assert [False, True] == [verified(authority, one, "sslclient") for one in (old, new)]


def test_a_certificate_does_not_outlive_its_authority(tmp_path: Path) -> None:
    """However long it was asked for."""
    authority = Authority(tmp_path, NOW)
    authority.init("test", days=10)
    made = x509.load_pem_x509_certificate(authority.issue(Wish(Role.AGENT, ("i-1",), 90)).certificate)

    assert NOW + dt.timedelta(days=10) == made.not_valid_after_utc


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "a\n", "*", "../x", "i-1/", "\x1b[31m", "ä", ".a"])
def test_a_name_that_is_none(authority: Authority, name: str) -> None:
    """It goes into file names, logs and terminals."""
    with pytest.raises(ConfigError, match="cannot be a certificate's name"):
        authority.issue(Wish(Role.AGENT, (name,), 1))
    assert [] == authority.entries()


@pytest.mark.parametrize("address", ["", "300.1.1.1", "a b", "http://x", "a/b", "host:4250"])
def test_an_address_that_is_none(authority: Authority, address: str) -> None:
    """A collector's certificate names what agents can dial."""
    with pytest.raises(ConfigError, match="neither a host name nor an IP address"):
        authority.issue(Wish(Role.COLLECTOR, (address,), 1))


def test_keys_are_for_their_owner_alone(authority: Authority) -> None:
    """Whatever the umask is."""
    folder = authority.bundle.parent
    keys = list(folder.glob("authority/*.key"))

    assert [0o600] == [stat.S_IMODE(path.stat().st_mode) for path in keys]
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)


def test_there_is_one_authority_in_a_directory(authority: Authority, tmp_path: Path) -> None:
    """A second `init` does not orphan every certificate of the first; and none is guessed where there is none."""
    with pytest.raises(StateError, match="is there already"):
        authority.init("again")
    with pytest.raises(StateError, match="vedette pki init"):
        Authority(tmp_path / "nowhere").entries()
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("damaged", ["ca.pem", "crl.pem", "issued/0.pem"])
def test_damage_is_named(authority: Authority, damaged: str) -> None:
    """The file, in one sentence."""
    path = authority.bundle.parent / damaged
    path.write_text("x")
    with pytest.raises(StateError, match=path.name):
        authority.entries()
