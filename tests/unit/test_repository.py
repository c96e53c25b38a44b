"""The repository is what its documents say, and speaks of itself alone."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import re
import subprocess
from pathlib import Path

import pytest

from agent import cli
from agent.version import VERSION

ROOT = Path(__file__).resolve().parents[2]

# Parts of each word are joined here, so that this file does not hold what it looks for.
FOREIGN = re.compile(
    "|".join(
        [
            "/wo" + "rk/",  # a directory of whoever wrote it
            "/ho" + r"me/(?!a/)\w",  # but that of the user of examples
            r"(?<![\w*}])/ro" + r"ot/\w",
            "py" + "env",
            "py" + r"pi\.org",  # hosts of package registries: mirrors differ
            "python" + r"hosted\.org",
            "deb" + r"\.debian\.org",
            r"(archive|security|snapshot)\.(deb" + "ian|ubu" + r"ntu)\.",
            "regi" + r"stry\.npm",
        ]
    ),
    re.IGNORECASE,
)

HEADINGS = ("Security", "Removed", "Deprecated", "Added", "Changed", "Fixed")


def tracked() -> list[Path]:
    """Return the files that git knows, less the licences, which are not our words."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and path.name != "LICENSE"]


def read(name: str) -> str:
    """Return a file of the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def foreign_words(text: str) -> list[str]:
    """Return the lines that name a place outside this project."""
    return [line.strip() for line in text.splitlines() if FOREIGN.search(line)]


def make_verbs() -> set[str]:
    """Return the verbs that a bare `make` prints."""
    printed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, check=True, capture_output=True, text=True)
    return {line.split()[0] for line in printed.stdout.splitlines() if line.startswith("  ")}


def code_in(document: str) -> list[str]:
    """Return the command lines of a document's shell blocks, without prompts, comments and results."""
    blocks = re.findall(r"^```(?:sh|console|bash)\n(.*?)^```", read(document), re.MULTILINE | re.DOTALL)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    inline = re.findall(r"`((?:sudo )?(?:make|vedette)(?: [^`]*)?)`", read(document))
    return [line.removeprefix("$ ").removeprefix("sudo ") for line in [*lines, *inline] if line]


def words_after(command: str, document: str) -> set[str]:
    """Return the first word after `command` wherever a document's code has it."""
    found = (re.match(rf"(?:\S*/)?{command} ([a-z]+)", line) for line in code_in(document))
    return {match[1] for match in found if match}


def test_no_foreign_words() -> None:
    """A clone works wherever it lies: nothing names a directory or a mirror of whoever wrote it."""
    found = {str(path.relative_to(ROOT)): foreign_words(path.read_text(errors="replace")) for path in tracked()}

    assert {} == {path: lines for path, lines in found.items() if lines}


@pytest.mark.parametrize("text", ["cd /wo" + "rk/tree", "PATH=~/.py" + "env/shims", "https://py" + "pi.org/simple"])
def test_foreign_words_are_found(text: str) -> None:
    """The check above sees what it is for."""
    assert [text] == foreign_words(f"fine\n{text}\n/var/lib/vedette\n")


def test_verbs_are_explained() -> None:
    """A newcomer who types `make` learns every verb."""
    verbs = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE)) - {"help"}

    assert {"setup", "run", "test", "bench", "lint", "types", "fmt", "proto", "docs", "clean"} <= verbs
    assert verbs == make_verbs()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_verbs_in_documents_exist(document: str) -> None:
    """A document never tells to make what cannot be made."""
    assert set() == words_after("make", document) - make_verbs()


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_commands_in_documents_exist(document: str) -> None:
    """Every `vedette COMMAND` in a document has help, and so is one."""
    commands = words_after("vedette", document)
    answers = {name: vedette(name, "--help") for name in commands}

    assert [] == [name for name, (status, _help) in answers.items() if status != 0]


def test_readme_shows_every_command() -> None:
    """The table in the README has a line for each command that `vedette --help` lists."""
    listed = re.findall(r"^  ([a-z]+)  ", vedette("--help")[1].partition("Commands:")[2], re.MULTILINE)

    assert listed
    assert [] == [name for name in listed if name not in words_after("vedette", "README.md")]


def test_options_in_readme_exist() -> None:
    """No document shows an option that its command refuses."""
    missing = []
    for line in code_in("README.md"):
        command = re.match(r"(?:\S*/)?vedette ([a-z]+)(.*)", line)
        if command is None:
            continue
        _status, usage = vedette(command[1], "--help")
        missing += [f"{command[1]} {option}" for option in re.findall(r"--[a-z-]+", command[2]) if option not in usage]

    assert [] == missing


def test_changelog_speaks_of_this_version() -> None:
    """An operator finds what the installed version means for them at the top of the changelog."""
    versions = re.findall(r"^## (\S+)", read("CHANGELOG.md"), re.MULTILINE)

    assert VERSION == versions[0].removesuffix("-unreleased")


def test_changelog_keeps_its_order() -> None:
    """Each version has the same headings in the same order, and one sentence a line."""
    for section in read("CHANGELOG.md").split("\n## ")[1:]:
        headings = re.findall(r"^### (.*)$", section, re.MULTILINE)
        entries = [line for line in section.splitlines()[1:] if line and not line.startswith("### ")]

        assert headings == [heading for heading in HEADINGS if heading in headings]
        assert [] == [line for line in entries if not (line.startswith("- ") and line.endswith("."))]


def test_ci_can_be_run() -> None:
    """Continuous integration is a program, and one that stops at the first thing that goes wrong unseen."""
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert "set -euo pipefail" in read(".ci/run")


@pytest.mark.parametrize("script", [".ci/run", "packaging/setup.sh"])
def test_scripts_parse(script: str) -> None:
    """A script is at least shell."""
    done = subprocess.run(["bash", "-n", ROOT / script], capture_output=True, text=True, check=False)

    assert "" == done.stderr


def test_ci_requires_the_tiers_that_make_test_runs() -> None:
    """No tier that `make test` runs can be skipped whole without turning continuous integration red."""
    chosen = re.search(r'-m "([a-z ]+)"', read("Makefile"))
    required = re.search(r"VEDETTE_REQUIRE_TIERS=(\S+)", read(".ci/run"))

    assert chosen is not None
    assert required is not None
    assert set(chosen[1].split(" or ")) == set(required[1].split(","))


def test_packages_are_packages() -> None:
    """A folder of code without `__init__.py` would be missing from the wheel."""
    folders = {path.parent for path in tracked() if path.suffix == ".py" and path.is_relative_to(ROOT / "agent")}
    folders |= {path.parent for path in tracked() if path.suffix == ".py" and path.is_relative_to(ROOT / "collector")}

    assert [] == sorted(str(folder) for folder in folders if not (folder / "__init__.py").exists())


@functools.cache
def vedette(*arguments: str) -> tuple[int, str]:
    """Return how a command line ends, and what it writes to standard output."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        return cli.main(arguments), said.getvalue()
