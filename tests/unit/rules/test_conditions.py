"""What a condition asks of an event: each operator, what is unknown, what is many, and that nothing takes long."""

from __future__ import annotations

import fnmatch
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from agent import probes
from agent.findings._examples import executable
from agent.findings._examples import in_container
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import process_exec
from agent.model import DnsAnswer
from agent.model import DnsRecord
from agent.model import Event
from agent.model import FileMode
from agent.model import NetConnect
from agent.rules import fields
from agent.rules.conditions import WORDS
from agent.rules.conditions import Compiler
from agent.rules.errors import BadRule
from agent.rules.texts import OPERATORS
from tests.unit.rules.made import context
from tests.unit.rules.made import holds

_COMMON = {name: getattr(process_exec(), name) for name in Event.__struct_fields__}
EXEC = process_exec(
    path="/opt/App/run.sh", args=("run", "--now", "password"), cwd=None, uid=33, euid=0, ld_preload="/tmp/x.so"
)
CONNECT = NetConnect(**_COMMON, protocol=6, remote_address="10.1.2.3", remote_port=5432, cookie=1, connected=True)
MODE = FileMode(**_COMMON, path="/usr/bin/x", mode_raw=0o104755)
ANSWER = DnsAnswer(
    **_COMMON,
    name="a.example",
    type_raw=1,
    transaction=1,
    rcode=0,
    answers=(
        DnsRecord(name="a.example", type_raw=5, ttl_s=9, value="b.example"),
        DnsRecord(name="b.example", type_raw=1, ttl_s=9, value="192.0.2.1"),
    ),
    protocol=17,
    remote_address="::ffff:10.0.0.1",
    remote_port=53,
    local_address="10.0.0.2",
    local_port=4000,
    cookie=None,
)
PARENT = process(exe=executable("/usr/sbin/nginx"), user="www-data")
GRANDPARENT = process(exe=executable("/usr/bin/runc"), user="root")
AROUND = replace(on_host(), lineage=(PARENT, GRANDPARENT))
KINDS = [probe.event for probe in probes.load() if probe.name != "canary"]


@pytest.mark.parametrize(
    ("when", "event", "expected"),
    [
        ('path = "/opt/App/run.sh"', EXEC, True),
        ('path = "/opt/App/run"', EXEC, False),
        ('path = ["/x", "/opt/App/run.sh"]', EXEC, True),
        ('path = { in = ["/x"] }', EXEC, False),
        ('path = { is = "/OPT/app/run.sh" }', EXEC, False),
        ('path = { is = "/OPT/app/run.sh", ignore_case = true }', EXEC, True),
        ('path = { prefix = "/opt/" }', EXEC, True),
        ('path = { prefix = ["/usr/", "/opt"] }', EXEC, True),
        ('path = { prefix = "opt" }', EXEC, False),
        ('path = { prefix = "/OPT/A", ignore_case = true }', EXEC, True),
        ('path = { suffix = ".sh" }', EXEC, True),
        ('path = { suffix = ".SH" }', EXEC, False),
        ('path = { suffix = ".SH", ignore_case = true }', EXEC, True),
        ('path = { contains = "App" }', EXEC, True),
        ('path = { contains = ["x", "App"] }', EXEC, True),
        ('path = { contains = "app" }', EXEC, False),
        ('path = { contains = "APP", ignore_case = true }', EXEC, True),
        ('path = { glob = "/opt/*.sh" }', EXEC, True),
        ('path = { glob = ["/x", "*/r?n.sh"] }', EXEC, True),
        ('path = { glob = "/opt/*.py" }', EXEC, False),
        ('path = { glob = "/opt" }', EXEC, False),
        ('path = { glob = "/OPT/*", ignore_case = true }', EXEC, True),
        ("path = { regex = '^/opt/[A-Z]\\w+/r' }", EXEC, True),
        ("path = { regex = 'run$' }", EXEC, False),
        ("path = { regex = '/APP/', ignore_case = true }", EXEC, True),
        ('path = { prefix = "/opt/", suffix = ".py" }', EXEC, False),
        ('path = { prefix = "/opt/", not = "/opt/App/run.sh" }', EXEC, False),
        ('path = { prefix = "/opt/", not = { suffix = ".py" } }', EXEC, True),
        ("path = { exists = true }", EXEC, True),
        ("cwd = { exists = true }", EXEC, False),
        ("cwd.exists = false", EXEC, True),
        ('cwd = "/"', EXEC, False),
        ('cwd = { not = "/" }', EXEC, True),
        ('not = { cwd = "/" }', EXEC, True),
        ('not = { path = { prefix = "/opt" } }', EXEC, False),
        ("any = [ { uid = 1 }, { euid = 0 } ]", EXEC, True),
        ("any = [ { uid = 1 }, { euid = 1 } ]", EXEC, False),
        ("all = [ { uid = 33 }, { euid = 0 } ]", EXEC, True),
        ("all = [ { uid = 33 }, { euid = 1 } ]", EXEC, False),
        ("uid = 33", EXEC, True),
        ("uid = [1, 33]", EXEC, True),
        ("uid = { in = [1, 2] }", EXEC, False),
        ("uid = { min = 33, max = 33 }", EXEC, True),
        ("uid = { min = 34 }", EXEC, False),
        ("uid = { max = 32 }", EXEC, False),
        ("uid = { not = 33 }", EXEC, False),
        ("mode_raw = { bits = 0o6000 }", MODE, True),
        ("mode_raw = { bits = 0o2000 }", MODE, False),
        ("memfd = false", EXEC, True),
        ("memfd = true", EXEC, False),
        ("upper = false", EXEC, False),
        ('args = "--now"', EXEC, True),
        ('args = { prefix = "--n" }', EXEC, True),
        ('args = "--later"', EXEC, False),
        ('command_line = { contains = "run --now" }', EXEC, True),
        ('remote_address = { cidr = "10.0.0.0/8" }', CONNECT, True),
        ('remote_address = { cidr = ["::/0", "11.0.0.0/8"] }', CONNECT, False),
        ('remote_address = { cidr = "10.0.0.0/8" }', ANSWER, True),
        ('remote_address = "10.1.2.3"', CONNECT, True),
        ("connected = true", CONNECT, True),
        ('answers = { value = "192.0.2.1", type_raw = 1 }', ANSWER, True),
        ('answers = { value = "192.0.2.1", type_raw = 5 }', ANSWER, False),
        ("answers.exists = true", ANSWER, True),
        ('parent.path = "/usr/sbin/nginx"', EXEC, True),
        ('parent.path = "/usr/bin/runc"', EXEC, False),
        ('"parent.path" = "/usr/sbin/nginx"', EXEC, True),
        ('ancestor.path = "/usr/bin/runc"', EXEC, True),
        ('ancestor = { path = "/usr/bin/runc", user = "root" }', EXEC, True),
        ('ancestor = { path = "/usr/bin/runc", user = "www-data" }', EXEC, False),
        ('"ancestor.path" = "/usr/bin/runc"', EXEC, True),
        ("ancestor.exists = true", EXEC, True),
        ("ancestor.exists = false", EXEC, False),
        ("container.exists = false", EXEC, True),
        ('container.id = { prefix = "3f" }', EXEC, False),
        ("target_process.exists = true", EXEC, False),
        ('writer.process.path = "/usr/bin/curl"', EXEC, False),
        ('host.name = "web-1"', EXEC, True),
    ],
)
def test_an_operator_holds_when_it_says_so(when: str, event: Event, *, expected: bool) -> None:
    """Each operator, on a hit and on what is near it."""
    assert expected is holds(when, event, AROUND)


def test_a_container_can_be_asked_for() -> None:
    """Where something happened is a condition like any other."""
    assert holds('container = { id = { prefix = "3f" }, runtime = "containerd" }', process_exec(), in_container())
    assert not holds('container = { id = { prefix = "3f" }, runtime = "docker" }', process_exec(), in_container())


@pytest.mark.parametrize("event_class", KINDS, ids=lambda one: one.__struct_config__.tag)
def test_each_field_of_an_event_can_be_asked_for(event_class: type[Event]) -> None:
    """No field has the name of a noun around it, or of an operator, and each can be got from any event."""
    taken = fields.roots() | WORDS | {"reason", "list", "ignore_case", *OPERATORS}

    assert set() == taken & set(event_class.__struct_fields__)
    assert {"uid", "process.path", "ancestor.user", "container.id"} <= {
        name for name, _ in fields.names(fields.shape(event_class))
    }


@given(st.text(alphabet="ab*?/.[]{}\n", min_size=1, max_size=12), st.text(alphabet="ab/.[]{}\n", max_size=12))
def test_a_glob_is_what_everybody_takes_it_for(glob: str, value: str) -> None:
    """`*` is any text and `?` one character, and nothing else means anything."""
    standard = re.compile(fnmatch.translate(glob.replace("[", "[[]")), re.DOTALL)

    assert (standard.match(value) is not None) is OPERATORS["glob"].make([glob], True)(value)


@pytest.mark.parametrize(
    ("name", "pattern", "value"),
    [
        ("glob", "*a*a*a*a*a*a*a*a*b", "a" * 100_000),
        ("glob", "*?a?*?a?*?a?*b", "a" * 20_000),
        ("regex", "(a+)+$", "a" * 100_000 + "b"),
        ("regex", "(a|aa)+$", "a" * 100_000 + "b"),
        ("regex", r"^(\w+\s?)*$", "a " * 50_000 + "!"),
        ("contains", "a" * 500 + "b", "a" * 100_000),
    ],
)
def test_no_value_makes_a_comparison_take_long(name: str, pattern: str, value: str) -> None:
    """What a process says of itself can slow down no rule: each of these takes years by going back."""
    compare = OPERATORS[name].make([pattern], True)
    began_s = time.process_time()

    assert not compare(value)
    assert time.process_time() - began_s < 5.0


@given(st.text(max_size=300))
def test_no_text_upsets_an_operator(value: str) -> None:
    """Lone surrogates, NULs and what is no address are texts that do not match."""
    for name, operator in OPERATORS.items():
        wanted = "192.0.2.0/24" if name == "cidr" else "zzzzzzzzzz"
        assert operator.make([wanted], True)(value) is (wanted in value and name in {"contains", "regex"})
        operator.make([wanted], False)(value)


def test_a_lone_surrogate_is_a_text() -> None:
    """A text that cannot be encoded is compared all the same."""
    assert not OPERATORS["regex"].make(["a"], True)("\udcff")
    assert OPERATORS["glob"].make(["*"], True)("\udcff")


VALUES = st.one_of(
    st.text(max_size=4),
    st.integers(-5, 5),
    st.booleans(),
    st.none(),
    st.floats(),
    st.lists(st.text(max_size=3), max_size=3),
)
NAMES = st.sampled_from(
    [*WORDS, "path", "uid", "memfd", "args", "process", "ancestor", "in", "prefix", "min", "list", "x", "", "a.b"]
)
CONDITIONS = st.recursive(
    VALUES, lambda inner: st.dictionaries(NAMES, inner, max_size=4) | st.lists(inner, max_size=3), max_leaves=12
)


@given(st.dictionaries(NAMES, CONDITIONS, min_size=1, max_size=4))
def test_any_condition_is_understood_or_refused(condition: dict[str, object]) -> None:
    """Whatever stands in a file, it becomes a test that answers, or an error that names the place."""
    compiler = Compiler(fields.shape(type(EXEC)), "process_exec", {"l": ["a"]})
    try:
        tests = compiler.condition(condition, ("when",))
    except BadRule as bad:
        where, tests = bad.path[0], ()
    else:
        where = "when"
    look = fields.Look(EXEC, context(AROUND))

    assert "when" == where
    assert all(isinstance(one.holds(look), bool) for one in tests)
    assert all(isinstance(said, str) for one in tests for said in one.told(look))
