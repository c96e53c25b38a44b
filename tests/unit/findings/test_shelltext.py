"""Shell text, as a shell would split it; and whatever else is given for such."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.findings._commandlines import of_exec
from agent.findings._examples import command
from agent.findings._shelltext import COMMANDS_MAX
from agent.findings._shelltext import DEPTH_MAX
from agent.findings._shelltext import MARK
from agent.findings._shelltext import TEXT_MAX
from agent.findings._shelltext import Command
from agent.findings._shelltext import read


def words(text: str) -> list[list[list[str]]]:
    """Return the words of each command of each pipeline."""
    return [[list(command.words) for command in pipeline] for pipeline in read(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a b", [[["a", "b"]]]),
        ("a|b |& c", [[["a"], ["b"], ["c"]]]),
        ("a;b && c || d & e\nf", [[["a"]], [["b"]], [["c"]], [["d"]], [["e"]], [["f"]]]),
        ("c''u\"r\"l\\x", [[["curlx"]]]),
        ("'a b' \"c d\" e\\ f", [[["a b", "c d", "e f"]]]),
        ('"a\\$b\\c\\"d"', [[['a$b\\c"d']]]),
        ("$'\\x63\\165rl\\n'", [[["curl\n"]]]),
        ("a$IFS-b${IFS}c${IFS%??}d", [[["a", "-b", "c", "d"]]]),
        ("$IFSX", [[["$IFSX"]]]),
        ("wh$@o$*ami", [[["whoami"]]]),
        ("{a,b,c}", [[["a", "b", "c"]]]),
        ("{a}", [[["{a}"]]]),
        ("a \\\n b", [[["a", "b"]]]),
        ("a # b | c", [[["a"]]]),
        ("a#b", [[["a#b"]]]),
        ("if a; then b; fi", [[["a"]], [["b"]]]),
        ("'if' a", [[["if", "a"]]]),
        ("(a; b) | { c; }", [[["a"]], [["b"], ["c"]]]),
        ("f() { a | b; }; f", [[["f"]], [["a"], ["b"]], [["f"]]]),
        ("a '' b", [[["a", "", "b"]]]),
        ("a 'b", [[["a", "b"]]]),
        ('a "b', [[["a", "b"]]]),
        ("a \\", [[["a", ""]]]),
        ("a\fb", [[["a", "b"]]]),
        (f"a{MARK}b", [[["a", "b"]]]),
        ("a >b <c 2>&1 d", [[["a", "d"]]]),
        ("$a ${b} $", [[["$a", "${b}", "$"]]]),
        ("$(a)", [[[MARK]]]),
        ("a $(b)$(c)", [[["a", MARK * 2]]]),
    ],
)
def test_words_are_those_of_a_shell(text, expected):
    """Quotes, separators and keywords do not count; order does."""
    assert expected == words(text)


@pytest.mark.parametrize("quote", ["$({})", "`{}`", '"$({})"', "<({})", ">({})"])
def test_what_is_substituted_is_read_too(quote):
    """It is beside the command that it is substituted into, with a mark in its place."""
    [[outer]] = read(f"a {quote.format('b c | d')} e")

    assert ("a", MARK, "e") == outer.words
    assert (((Command(words=("b", "c")), Command(words=("d",))),),) == outer.inner


def test_a_substitution_ends_at_its_own_parenthesis():
    """A subshell, a quote and another substitution in it have their own."""
    [[outer]] = read("a $( (b) ')' $(c) ) d")

    assert ("a", MARK, "d") == outer.words
    [[[inner]]] = outer.inner
    assert ("b", ")", MARK) == inner.words


def test_what_stands_around_a_command_is_kept_apart():
    """Assignments, redirections and here-strings."""
    [[found]] = read("A=1 B=2 c D=3 >e 2>>f <g <<<'h i' &>j 5<>k >&l 2>&1")

    assert ("c", "D=3") == found.words
    assert ("A=1", "B=2") == found.assigned
    assert ("e", "f", "j", "k", "l") == found.writes
    assert (("g",), ("h i",)) == (found.reads, found.given)


def depth(script) -> int:
    return 1 + max((depth(inner) for line in script for each in line for inner in each.inner), default=0)


@pytest.mark.parametrize("opening", ["$(", "<(", '"$(', "a $("])
def test_depth_is_bounded(opening):
    """However many substitutions are opened, no more are read, nor is the stack used up."""
    assert depth(read(opening * 2000)) <= DEPTH_MAX + 1


def test_the_number_of_commands_is_bounded():
    """A text of nothing but separators and commands is not kept whole."""
    assert sum(map(len, read("a|" * TEXT_MAX))) <= COMMANDS_MAX + 1


PIECES = st.sampled_from(
    [*"'\"()|&;\n\\${},a \f#><1=\x01\x02\0é", "$(", "`", "<(", "()", "${IFS", "-c", "<<<", "$'", "$@", "if", "-d"]
)
HOSTILE = st.one_of(st.text(max_size=300), st.lists(PIECES, max_size=200).map("".join))


@given(HOSTILE)
def test_no_text_makes_it_fail(text):
    """It is what an attacker chose: any text is read, and its words are parts of it."""
    for pipeline in read(text):
        for each in pipeline:
            assert each.words or each.assigned or each.writes or each.reads or each.given or each.inner


@given(st.lists(HOSTILE, max_size=6))
def test_no_command_line_makes_it_fail(arguments):
    """Nor does what is made of it, whatever program is given it."""
    for program in ("/bin/sh", "/usr/bin/python3.11", "/tmp/x", "/usr/bin/sudo", "/bin/busybox", "/usr/bin/base64"):
        line = of_exec(command(program, "-c", *arguments))
        assert line.pipelines


@pytest.mark.parametrize(
    "piece",
    ["'", '"', "$(", "`", "<(", "(", "|", "${IFS", "$", "{a,", "$'", "\\", "a|", "A=", "$(`", '"$(', ">", "1", "echo|"],
)
def test_time_grows_with_the_text_alone(piece):
    """Twice the text takes twice as long, whatever it repeats; counted in steps of the interpreter, not in seconds."""

    def steps(text: str) -> int:
        count = 0

        def trace(*_):
            nonlocal count
            count += 1
            return trace

        sys.settrace(trace)
        try:
            read(text)
        finally:
            sys.settrace(None)
        return count

    short, long = steps(piece * 150), steps(piece * 300)
    assert long < 3 * short + 500
