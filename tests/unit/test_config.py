"""What the agent accepts as settings, and how it refuses the rest."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import config
from agent.errors import ConfigError
from agent.listing import ListConfig
from agent.model import Sensitivity
from agent.sensor.ebpf.source import Options

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"

FULL = """
state_dir = "/srv/vedette"
lock_file = "/run/lock/vedette"
log_level = "debug"
health_interval_s = 60

[collector]
address = "collector.example:4250"
ca_file = "/etc/vedette/ca.pem"
cert_file = "/etc/vedette/agent.pem"
key_file = "/etc/vedette/agent.key"

[sensor]
probes = ["process_exec", "dns_query"]
python = "/usr/bin/python3"
compat = "always"
source = "userspace"
own_tgids = [12, 13]
disabled_kinds = ["mount"]
sensitive_files = ["app/secrets.yml", "*/key.pem", "vault/*"]
lifecycle_ring_mib = 8
activity_ring_mib = 64
self_check_interval_s = 5

[findings]
sensitivity = "low"
types = { "Execution:Runtime/SuspiciousTool" = "off" }
known_good = ["/etc/vedette/known-good.toml"]

[containers]
ask = "files"
wait_ms = 100
ask_timeout_ms = 500
cri_sockets = ["/srv/containerd.sock"]
docker_sockets = []
podman_sockets = []
runc_roots = ["/srv/runc"]
containerd_tasks = ["/srv/tasks"]
rootless = "no"

[intel]
lists = [{ path = "/etc/vedette/lists.d", category = "c2", format = "stix2", name = "ours" }]

[rules]
directory = "/srv/vedette/rules.d"

[host]
ec2 = "always"
ec2_endpoint = "http://[fd00:ec2::254]"

[ecs]
ask = "off"
task_endpoint = "http://169.254.170.2/v4/xyz"
agent_endpoint = "http://127.0.0.1:51679"

[kubernetes]
cluster_name = "prod"
node = "node-1"
api_server = "https://10.0.0.1:6443"
kubelet = "https://127.0.0.1:10250"
token_file = "/etc/vedette/token"
server_name = "node-1"

[management]
mode = "managed"
labels = { env = "prod" }

[privacy]
redact = false
patterns = ["corp-[0-9]{8}"]

[spool]
limit_bytes = 1_048_576
"""


def test_an_empty_file_is_a_configuration() -> None:
    """Nobody has to set anything: the agent then reports to the collector beside it."""
    settings = config.parse("", "empty")

    assert config.Config() == settings
    assert "unix:///var/lib/vedette/collector.sock" == settings.address


def test_the_rings_are_as_large_as_the_sensor_would_have_them() -> None:
    """An empty file and no file at all give the same memory."""
    sensor = config.SensorConfig()

    assert Options().lifecycle_bytes == sensor.lifecycle_ring_mib << 20
    assert Options().activity_bytes == sensor.activity_ring_mib << 20


def test_every_key_can_be_set() -> None:
    """A full file says what it says."""
    settings = config.parse(FULL, "full")

    assert Path("/srv/vedette") == settings.state_dir
    assert "collector.example:4250" == settings.address
    assert ("process_exec", "dns_query") == settings.sensor.probes
    assert (12, 13) == settings.sensor.own_tgids
    assert ("mount",) == settings.sensor.disabled_kinds
    assert ("app/secrets.yml", "*/key.pem", "vault/*") == settings.sensor.sensitive_files
    assert Sensitivity.LOW is settings.findings.sensitivity
    assert {"Execution:Runtime/SuspiciousTool": "off"} == settings.findings.types
    ours = ListConfig(path=Path("/etc/vedette/lists.d"), category="c2", format="stix2", name="ours")
    assert (ours,) == settings.intel.lists
    assert ("always", "http://[fd00:ec2::254]") == (settings.host.ec2, settings.host.ec2_endpoint)
    assert ("off", "http://127.0.0.1:51679") == (settings.ecs.ask, settings.ecs.agent_endpoint)
    assert ("prod", "https://127.0.0.1:10250") == (settings.kubernetes.cluster_name, settings.kubernetes.kubelet)
    set_keys = {name.split(" =")[0] for name in re.findall(r"^\w+ = .*", FULL, re.MULTILINE)}
    assert {key.name.split(".")[-1] for key in config.declared_keys()} == set_keys


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("colector = 1", "f:1: unknown key colector; did you mean collector?", id="near a key"),
        pytest.param(
            "\n[spool]\nzzz = 1",
            "f:3: unknown key spool.zzz; known here: limit_bytes",
            id="near nothing",
        ),
        pytest.param(
            "\n[[intel.lists]]\npath = '/a'\ncategory = 'c3'",
            "f:2: intel.lists must be a list, each a table of path (an absolute path), category (one of",
            id="a list of no category",
        ),
        pytest.param("[[intel.lists]]\npath = '/a'\ncategory = 'c2'\nx = 1", "f:1: intel.lists must", id="a key more"),
        pytest.param(
            "[host]\nec2_endpoint = 'ftp://a'",
            "f:2: host.ec2_endpoint must be http://HOST:PORT or https://HOST:PORT, not 'ftp://a'",
            id="no address of a server",
        ),
        pytest.param("[kubernetes]\nkubelet = 'http://u:p@a'", "f:2: kubernetes.kubelet must be", id="a password"),
        pytest.param("[ecs]\nagent_endpoint = 'http://a/?b'", "f:2: ecs.agent_endpoint must be", id="a query"),
        pytest.param("[ecs]\nask = 'maybe'", 'f:2: ecs.ask must be one of "auto", "off"', id="no mode"),
        pytest.param("[sensors]\n", "f:1: unknown key sensors; did you mean sensor?", id="unknown section"),
        pytest.param(
            "[sensor]\n# one\n\nprobes = 'all'\nprobs = 'all'",
            "f:5: unknown key sensor.probs; did you mean probes?",
            id="comments and blank lines count",
        ),
        pytest.param(
            "[sensor]\nprobes = [\n  'a',\n  3,\n]\n",
            "f:2: sensor.probes must be \"all\" or a list, each a text, not ['a', 3]",
            id="a value over several lines is named by its first",
        ),
        pytest.param(
            "log_level = 'info'\nstate_dir = '''\n[spool]\nlimit_bytes = 1'''\n",
            "f:2: state_dir must be an absolute path, not '[spool]",
            id="text that looks like a key is none",
        ),
        pytest.param("spool = {limit_bytes = 'x'}", "f:1: spool.limit_bytes must be a whole number", id="inline table"),
        pytest.param("spool.limit_bytes = 3", "f:1: spool.limit_bytes must be a whole number, at least 1048576, not 3"),
        pytest.param("spool = 3", "f:1: spool is a section: write [spool]", id="value for a section"),
        pytest.param("state_dir = 'here'", "f:1: state_dir must be an absolute path, not 'here'"),
        pytest.param('lock_file = "/a\\u0000b"', "f:1: lock_file must be an absolute path, not '/a\\x00b'"),
        pytest.param(
            "[sensor]\nown_tgids = [0]",
            "f:2: sensor.own_tgids must be a list of at most 15, each a whole number, at least 1",
        ),
        *(
            pytest.param(
                f"[sensor]\nsensitive_files = [{name!r}]",
                "f:2: sensor.sensitive_files must be a list of at most 256, each PARENT/LEAF of at most 46 bytes each",
                id=what,
            )
            for name, what in (
                ("shadow", "no directory"),
                ("/etc/shadow", "a path"),
                ("etc/", "no file"),
                ("*/*", "everything"),
                ("etc/*.pem", "a pattern"),
                ("etc/" + "\u00fc" * 24, "48 bytes"),
            )
        ),
        pytest.param(
            "[sensor]\nactivity_ring_mib = 3",
            "f:2: sensor.activity_ring_mib must be one of 1, 2, 4, 8, 16, 32, 64, not 3",
        ),
        pytest.param(
            f"[sensor]\nown_tgids = {[*range(1, 17)]}", "f:2: sensor.own_tgids must be a list of at most 15", id="full"
        ),
        pytest.param("[sensor]\nown_tgids = [true]", "f:2: sensor.own_tgids must be a list", id="a truth is no number"),
        pytest.param(
            "log_level = 'loud'", 'f:1: log_level must be one of "debug", "error", "info", "warning", not \'loud\''
        ),
        pytest.param(
            "[findings]\nsensitivity = 'hi'",
            'f:2: findings.sensitivity must be one of "low", "balanced", "high", not \'hi\'',
        ),
        pytest.param("\n\na = = 1", "f:3: Invalid value", id="not TOML"),
        pytest.param("a = '''\n\n", "f:3: Expected \"'''\"", id="not TOML at its end"),
        pytest.param("[spool]\n[spool]\n", "f:2: Cannot declare", id="a section twice"),
    ],
)
def test_what_is_not_understood_names_its_line(text: str, complaint: str) -> None:
    """An operator is told file, line, key and what is allowed."""
    with pytest.raises(ConfigError) as refused:
        config.parse(text, "f")

    assert str(refused.value).startswith(complaint)


@given(st.text(alphabet="[]=.'\"\n#ab1{}, \\spool"))
def test_no_text_is_half_understood(text: str) -> None:
    """Whatever a file holds, it is a configuration or a sentence with a line."""
    try:
        config.parse(text, "f")
    except ConfigError as refused:
        complaint = str(refused)
    else:
        return

    assert re.match(r"f:\d+: ", complaint)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A missing file is one sentence."""
    with pytest.raises(ConfigError, match=r"none\.toml cannot be read: No such file or directory"):
        config.load(tmp_path / "none.toml")


def test_a_file_that_is_not_text_names_the_line(tmp_path: Path) -> None:
    """A stray byte is found."""
    path = tmp_path / "f.toml"
    path.write_bytes(b"# one\nstate_dir = '/\xff'\n")

    with pytest.raises(ConfigError, match=r"f\.toml:2: not UTF-8"):
        config.load(path)


def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """A device or a core dump given by mistake does not fill the memory."""
    with pytest.raises(ConfigError, match="/dev/zero is larger than"):
        config.load(Path("/dev/zero"))


def test_the_documentation_has_every_key() -> None:
    """docs/configuration.md says what the agent really takes, with its defaults."""
    rows = re.findall(r"^\| `(.+?)` \| (.*?) \| (.*?) \| (.*?) \|$", DOCUMENT.read_text(), re.MULTILINE)
    declared = [
        (key.name, key.allowed, f"`{key.default}`" if key.default else "none", key.meaning)
        for key in config.declared_keys()
    ]

    assert declared == rows
