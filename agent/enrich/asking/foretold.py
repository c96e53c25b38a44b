"""Containers that are about to be: `runc create --bundle DIRECTORY ID`, as engines and people call it.

The configuration in that directory is read at once, tens of milliseconds before the container's first program runs: of
a container that is gone in a moment nothing else may be left when its turn comes.

Anybody can start a program with such a name and such arguments.  What it says counts only for a container of the same
user: of root's, when root started it.
"""

from __future__ import annotations

import os

from agent.enrich.asking.said import Question
from agent.model import Process

RUNTIMES = frozenset({"runc", "crun", "docker-runc", "youki", "runsc"})
_VERBS = frozenset({"create", "run"})
_BUNDLE = ("--bundle", "-b")


def foretold(process: Process) -> tuple[Question, str] | None:
    """Return the container that a program which was just started will make, and its bundle; None for any other."""
    if process.name not in RUNTIMES or process.container_id is not None or len(process.args) < 3:  # noqa: PLR2004
        return None
    verb = next((number for number, word in enumerate(process.args) if word in _VERBS), None)
    container_id = process.args[-1]
    if verb is None or verb == len(process.args) - 1 or container_id.startswith("-") or "/" in container_id:
        return None
    bundle = os.path.join(process.cwd or "/", _bundle(process.args[verb:]))  # noqa: PTH118  # a Path would tidy it up
    return Question(container_id, process.name, None, process.euid), bundle


def _bundle(words: tuple[str, ...]) -> str:
    for word, following in zip(words, (*words[1:], ""), strict=True):
        name, equals, value = word.partition("=")
        if name in _BUNDLE:
            return value if equals else following
    return "."
