"""The questions of which several are a survey."""

from __future__ import annotations

import pytest

from agent.findings import _patterns
from agent.findings import _survey
from tests.unit.findings.test_suspicious import line

FACETS = [pytest.param(facet, id=facet.name) for facet in _patterns.facets("discovery")]


@pytest.mark.parametrize("facet", FACETS)
def test_a_question_is_known(facet):
    """Each way to ask it counts as that question, and as one."""
    assert [{facet.name}] * len(facet.fires) == [set(_survey.asked(line(text))) for text in facet.fires]


@pytest.mark.parametrize("facet", FACETS)
def test_what_only_looks_like_it_is_no_question(facet):
    """Its near misses are no question at all."""
    assert [set()] * len(facet.silent) == [set(_survey.asked(line(text))) for text in facet.silent]


def test_a_survey_is_counted_by_kinds():
    """The same question twice is one; in a pipe, a substitution or encoded, it is one all the same."""
    assert {"who one is"} == _survey.asked(line("sh -c 'id; whoami; id'"))
    assert 3 == len(_survey.asked(line("sh -c 'echo $(id) | cat; uname -a | grep x; echo cHMgYXV4 | base64 -d | sh'")))
