from __future__ import annotations

import json
import re
from importlib import import_module
from pathlib import Path

import msgspec
import pytest

from collector import config
from collector import exports
from collector.address import Address
from collector.address import parse
from collector.errors import ConfigError

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"
MINIMAL = 'listen = "127.0.0.1:0"\nstate_dir = "/var/lib/x"\n'


def load(tmp_path: Path, text: str) -> config.Config:
    path = tmp_path / "collector.toml"
    path.write_text(text)
    return config.load(path)


@pytest.mark.parametrize(
    ("complaint", "text"),
    [
        pytest.param(r"collector.toml:3: .*`sate_dir`", MINIMAL + 'sate_dir = "/x"\n', id="unknown key"),
        pytest.param(
            r"collector.toml:6: .*`cafile`", MINIMAL + '\n[tls]\nca_file = "a"\ncafile = "b"\n', id="in a table"
        ),
        pytest.param(r"missing required field `listen`", 'state_dir = "/x"\n', id="missing key"),
        pytest.param(r"Expected `str`, got `int` - at `\$.listen`", 'listen = 1\nstate_dir = "/x"\n', id="wrong type"),
        pytest.param(r"cannot be read as TOML: .*line 1", "listen = \n", id="no TOML"),
        pytest.param(r"collector.toml:3: `flush_rows` must be above 0", MINIMAL + "flush_rows = 0\n", id="no room"),
        pytest.param(r"collector.toml:1: `listen` 'x' is neither", 'listen = "x"\nstate_dir = "/x"\n', id="no address"),
        pytest.param(
            r"needs mutual TLS: set ca_file, cert_file and key_file",
            'listen = "0.0.0.0:4250"\nstate_dir = "/x"\n',
            id="plain text in the open",
        ),
        pytest.param(
            r"missing required field `key_file`",
            MINIMAL + '[tls]\nca_file = "a"\ncert_file = "b"\n',
            id="two of three files",
        ),
        pytest.param(
            r"collector.toml:4: `ca_file` /nonexistent/ca: No such file",
            MINIMAL + '[tls]\nca_file = "/nonexistent/ca"\ncert_file = "b"\nkey_file = "c"\n',
            id="file that is not there",
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, complaint: str, text: str) -> None:
    """An operator is told file, line and key."""
    with pytest.raises(ConfigError, match=complaint):
        load(tmp_path, text)


def test_a_configuration_that_is_not_there(tmp_path: Path) -> None:
    """The missing file is named."""
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        config.load(tmp_path / "nowhere.toml")


def test_a_minimal_configuration(tmp_path: Path) -> None:
    """Two keys are enough."""
    made = load(tmp_path, MINIMAL)

    assert made.address == Address(host="127.0.0.1", port=0)
    assert (made.state_dir, made.tls) == (Path("/var/lib/x"), None)


@pytest.mark.parametrize(
    "listen", ["", "x", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536", ":80", "unix:relative", "unix:///" + "x" * 107]
)
def test_what_is_no_address(listen: str) -> None:
    """Refused before anything is opened."""
    with pytest.raises(ConfigError, match="`listen`"):
        parse(listen)


@pytest.mark.parametrize(
    ("private", "written", "listen"),
    [
        (False, "0.0.0.0:1", "0.0.0.0:1"),
        (False, "[::]:1", "[::]:1"),
        (False, "10.0.0.1:1", "10.0.0.1:1"),
        (False, "collector.example:1", "collector.example:1"),
        (False, "127.0.0.1.example:1", "127.0.0.1.example:1"),
        (True, "127.0.0.1:1", "127.0.0.1:1"),
        (True, "127.9.9.9:1", "127.9.9.9:1"),
        (True, "[::1]:1", "[::1]:1"),
        (True, "127.0.0.1:1", "localhost:1"),
        (True, "unix:///run/x.sock", "unix:///run/x.sock"),
        (True, "unix:///run/x.sock", "unix:/run/x.sock"),
    ],
)
def test_where_plain_text_is_allowed(private: bool, written: str, listen: str) -> None:  # noqa: FBT001  a table's column
    """Only where no other host can reach."""
    assert (private, written) == (parse(listen).private, str(parse(listen)))


def test_the_documentation_has_every_key() -> None:
    """docs/configuration.md says what the collector really takes, with its defaults."""
    section = DOCUMENT.read_text(encoding="utf-8").partition("## The collector")[2]
    rows = re.findall(r"^\| `(.+?)` \| (.*?) \| ", section, re.MULTILINE)

    assert declared(config.Config) == {key: None if default == "none" else default[1:-1] for key, default in rows}


def declared(kind: type[msgspec.Struct], prefix: str = "") -> dict[str, str | None]:
    """Return every key by its dotted name, with its default as TOML has it."""
    keys: dict[str, str | None] = {}
    for field in msgspec.structs.fields(kind):
        sections = {"tls": config.Tls, "enrolment": config.Enrolment, "api": config.Api}
        if field.name in sections:
            keys |= declared(sections[field.name], f"{field.name}.")
        elif field.default in (msgspec.NODEFAULT, None):
            keys[prefix + field.name] = None
        else:
            keys[prefix + field.name] = json.dumps(field.default)
    return keys


def test_a_mistake_in_an_export_has_its_line(tmp_path: Path) -> None:
    """The section is found by its number, the key within it."""
    sections = '[[export]]\nname = "a"\ntype = "json_lines"\npath = "-"\n\n[[export]]\nname = "b"\npath = "x"\n'
    with pytest.raises(ConfigError, match=r":\d+: `export\[1\].path`") as raised:
        load(tmp_path, MINIMAL + sections + 'type = "json_lines"\n')

    text, key = (MINIMAL + sections).splitlines(), 'path = "x"'
    assert f":{text.index(key) + 1}: " in str(raised.value)


def test_every_key_of_an_export_is_documented() -> None:
    """docs/exports.md has a row for each type, with all of its keys."""
    text = (DOCUMENT.parent / "exports.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (`.*?) \|", text, re.MULTILINE))

    for kind in exports.kinds():
        settings = import_module(f"collector.exports.{kind}").Settings
        missing = [field.name for field in msgspec.structs.fields(settings) if f"`{field.name}`" not in rows[kind]]
        assert (kind, missing) == (kind, [])
