from __future__ import annotations

import pytest

from agent.enrich.scripts import Given
from agent.enrich.scripts import given
from agent.enrich.scripts import script_of
from agent.model import Executable
from tests.unit.enrich.made import executed
from tests.unit.enrich.made import process


@pytest.mark.parametrize(
    ("path", "args", "script"),
    [
        pytest.param("/usr/bin/python3.11", ("python3", "a.py"), "a.py", id="the first argument"),
        pytest.param("/usr/bin/python3.11", ("x", "-u", "-W", "ignore", "a.py", "b"), "a.py", id="behind options"),
        pytest.param("/usr/bin/bash", ("bash", "+x", "a.sh"), "a.sh", id="behind an option of shells"),
        pytest.param("/usr/bin/bash", ("bash", "-c", "a.sh"), None, id="a command"),
        pytest.param("/usr/bin/python3", ("python3", "-m", "http"), None, id="a module"),
        pytest.param("/usr/bin/python3", ("python3",), None, id="nothing"),
        pytest.param("/usr/bin/python3", ("python3", ""), None, id="an empty argument"),
        pytest.param("/usr/bin/python3", ("python3", *["-u"] * 15, "a.py"), None, id="behind too many options"),
        pytest.param("/usr/bin/cat", ("cat", "a.py"), None, id="no interpreter"),
        pytest.param("/usr/bin/perl-doc", ("perl", "a.pl"), None, id="a name that begins like one"),
    ],
)
def test_the_script_is_the_first_argument_of_an_interpreter(
    path: str, args: tuple[str, ...], script: str | None
) -> None:
    """What the program is decides, not what it calls itself."""
    assert script == script_of(executed(5, 1, path=path, args=args))


def test_the_kernel_says_which_script_it_started() -> None:
    """For `#!` it is the file that was executed, whatever the interpreter."""
    assert "./x" == script_of(executed(5, 1, path="/usr/bin/awk", filename="./x", interpreted=True))


@pytest.mark.parametrize(
    ("args", "program"),
    [
        pytest.param(("ld.so", "/tmp/x"), "/tmp/x", id="a program"),
        pytest.param(("ld.so", "--argv0", "cron", "--library-path", "/l", "x"), "/c/x", id="behind its options"),
    ],
)
@pytest.mark.parametrize(
    "path", ["/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1", "/ld.so"]
)
def test_a_dynamic_loader_is_given_a_program(path: str, args: tuple[str, ...], program: str) -> None:
    """What it loads is what runs."""
    event = executed(5, 1, path=path, args=args)
    exe = Executable(path=path, script_path=script_of(event))

    assert (Given("program", program),) == given(process(5, exe=exe, args=args, cwd="/c"))


@pytest.mark.parametrize(
    ("script", "cwd", "path"),
    [
        ("/a", "/b", "/a"),
        ("a", "/b", "/b/a"),
        ("a", "/", "/a"),
        ("a", None, None),
        ("a\0b", "/", None),
        (None, "/", None),
    ],
)
def test_where_a_script_is(script: str | None, cwd: str | None, path: str | None) -> None:
    """A relative name is one in the working directory."""
    expected = () if path is None else (Given("script", path),)

    assert expected == given(process(5, exe=Executable(path="/bin/sh", script_path=script), cwd=cwd))


@pytest.mark.parametrize(
    ("args", "config"),
    [
        pytest.param(("x", "-c", "a.json"), "/b/a.json", id="its own argument"),
        pytest.param(("x", "--config=/a.json"), "/a.json", id="one argument"),
        pytest.param(("x", "--config", "a.toml"), None, id="no JSON"),
        pytest.param(("x", "a.json"), None, id="not as settings"),
    ],
)
def test_settings_in_json_are_read(args: tuple[str, ...], config: str | None) -> None:
    """A miner under another name is known by them."""
    expected = () if config is None else (Given("config", config),)

    assert expected == given(process(5, exe=Executable(path="/tmp/x"), args=args, cwd="/b"))
