from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from agent.deliver.target import Target
from agent.errors import ConfigError

NO_ENCRYPTION = serialization.NoEncryption()


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """A self-signed certificate that serves as all three."""
    return make_files(tmp_path, NO_ENCRYPTION)


def make_files(folder: Path, encryption: serialization.KeySerializationEncryption) -> dict[str, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "agent")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + datetime.timedelta(days=36500))
    cert = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    paths = {name: folder / f"{name}.pem" for name in ("ca", "cert", "key")}
    for path, content in zip(paths.values(), (cert, cert, pem), strict=True):
        path.write_bytes(content)
    return paths


@pytest.mark.parametrize(
    "address",
    [
        "10.0.0.1:8443",
        "0.0.0.0:8443",
        "128.0.0.1:8443",
        "[::2]:8443",
        "[::]:8443",
        "[::ffff:127.0.0.1]:8443",
        "collector.example:8443",
        "localhost.example:8443",
        "Localhost:8443",
        "ip6-localhost:8443",
        "127.0.0.1.example:8443",
        "xn--lcalhost-n4a:8443",
    ],
)
def test_plain_text_does_not_leave_the_host(address: str) -> None:
    """An address that is not literally this host is refused without certificates, and says what is needed."""
    with pytest.raises(ConfigError, match="mutual TLS needs a ca, a cert and a key file, and ca and cert and key are"):
        Target.parse(address)


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        ("127.0.0.1:8443", "ipv4:127.0.0.1:8443"),
        ("127.9.9.9:1", "ipv4:127.9.9.9:1"),
        ("[::1]:8443", "ipv6:[::1]:8443"),
        pytest.param("localhost:65535", "ipv4:127.0.0.1:65535", id="localhost is never resolved"),
        ("unix:///run/vedette/collector.sock", "unix:/run/vedette/collector.sock"),
        ("unix:/run/vedette/collector.sock", "unix:/run/vedette/collector.sock"),
    ],
)
def test_this_host_needs_no_certificates(address: str, uri: str) -> None:
    """Agent and collector on one host talk without any set-up."""
    target = Target.parse(address)

    assert (address, uri, None) == (target.address, target.uri, target.credentials())


@pytest.mark.parametrize(
    "address",
    [
        "",
        "collector",
        "collector:",
        ":8443",
        "collector:0",
        "collector:65536",
        "collector:-1",
        "collector:http",
        "collector:８４４３",
        "::1:8443",
        "127.1:8443",
        "2130706433:8443",
        "0x7f000001:8443/",
        "[127.0.0.1]:8443",
        "http://collector:8443",
        "xds:///collector:8443",
        "dns:///localhost:8443",
        "unix-abstract:x:1",
        "collector@evil:8443",
        "a b:8443",
        "unix:relative/path",
        "unix:",
        "unix://host/path",
        f"unix:///{'x' * 107}",
        "unix:///a\0b",
        f"{'x' * 254}:1",
    ],
)
def test_an_address_that_is_none_says_so(address: str) -> None:
    """A typing error in the configuration is one clear line, with the address in it."""
    with pytest.raises(ConfigError, match=r"^collector address"):
        Target.parse(address)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("ca",), "cert and key are missing"),
        (("cert", "key"), "ca is missing"),
        (("ca", "cert"), "key is missing"),
    ],
)
@pytest.mark.parametrize("address", ["collector.example:8443", "127.0.0.1:8443"])
def test_half_of_the_certificates_is_none(
    given: tuple[str, ...], said: str, address: str, files: dict[str, Path]
) -> None:
    """Files that were given are never quietly ignored, on loopback neither."""
    with pytest.raises(ConfigError, match=said):
        Target.parse(address, **{name: files[name] for name in given})


@pytest.mark.parametrize(
    ("address", "uri"),
    [
        ("collector.example:8443", "dns:///collector.example:8443"),
        ("10.0.0.1:8443", "ipv4:10.0.0.1:8443"),
        ("[2001:db8::1]:8443", "ipv6:[2001:db8::1]:8443"),
        pytest.param("127.0.0.1:8443", "ipv4:127.0.0.1:8443", id="TLS on loopback for who wants it"),
    ],
)
def test_with_certificates_any_address_will_do(address: str, uri: str, files: dict[str, Path]) -> None:
    """The files are read when they are used, so that a renewed certificate needs no restart."""
    target = Target.parse(address, **files)
    files["ca"].write_bytes(files["ca"].read_bytes() + b"\n")

    assert uri == target.uri
    assert tuple(path.read_bytes() for path in files.values()) == target.credentials()


@pytest.mark.parametrize("name", ["ca", "cert", "key"])
def test_a_file_that_cannot_be_read_is_named(name: str, files: dict[str, Path]) -> None:
    """An operator sees which of three files is missing."""
    files[name].unlink()

    with pytest.raises(ConfigError, match=rf"{name}\.pem cannot be read: No such file"):
        Target.parse("collector.example:8443", **files)


@pytest.mark.parametrize("name", ["ca", "cert", "key"])
def test_a_file_that_holds_something_else_is_named(name: str, files: dict[str, Path]) -> None:
    """A wrong file is found at start, rather than as a connection that never comes."""
    files[name].write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")

    with pytest.raises(ConfigError, match=rf"{name}\.pem"):
        Target.parse("collector.example:8443", **files)


def test_a_key_of_another_certificate_is_refused(files: dict[str, Path], tmp_path: Path) -> None:
    """Files that do not belong together are found at start."""
    (tmp_path / "other").mkdir()
    other = make_files(tmp_path / "other", NO_ENCRYPTION)

    with pytest.raises(ConfigError, match="are not a certificate and its unencrypted key"):
        Target.parse("collector.example:8443", **files | {"key": other["key"]})


def test_a_key_with_a_password_does_not_ask_for_it(tmp_path: Path) -> None:
    """A daemon has no terminal to type a password on."""
    files = make_files(tmp_path, serialization.BestAvailableEncryption(b"secret"))

    with pytest.raises(ConfigError, match="unencrypted"):
        Target.parse("collector.example:8443", **files)
