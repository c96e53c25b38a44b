from __future__ import annotations

import pytest

from agent.enrich.scripts import absolute
from agent.enrich.scripts import script_of
from tests.unit.enrich.made import executed


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
    ("script", "cwd", "path"),
    [
        ("/a", "/b", "/a"),
        ("a", "/b", "/b/a"),
        ("a", "/", "/a"),
        ("a", None, None),
        ("a\0b", "/", None),
    ],
)
def test_where_a_script_is(script: str, cwd: str | None, path: str | None) -> None:
    """A relative name is one in the working directory."""
    assert path == absolute(script, cwd)
