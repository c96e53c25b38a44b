"""How well agent/intel/dga.py tells drawn names from ordinary ones; --train makes its model.

    .venv/bin/python -P bench/dga.py [--train]

(-P: `agent` is the package, not the neighbour of this file.)  Ordinary names are those
of the home pages of Debian's packages, as `apt-cache dumpavail` tells them: half of
them, with the packages' names and the words of their descriptions, make the model, the
other half is what it is judged by.  As many of those are named like their packages,
names in the private part of the Public Suffix List are a second measure.  Drawn names
are made here, in the ways of families that have been described; two ways that make names
of words or syllables are among them, to show what cannot be seen.

Printed are the false positives on ordinary names and the part of drawn ones that is found.
"""

from __future__ import annotations

import hashlib
import random
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from collections.abc import Iterable
from collections.abc import Iterator
from math import log2
from pathlib import Path

import click

from agent.intel import dga

MODEL = Path(__file__).resolve().parents[1] / "agent" / "intel" / "dga_model.txt"
SUFFIXES = Path("/usr/share/publicsuffix/public_suffix_list.dat")  # of the package publicsuffix
NAMES = 20_000
WORD_LETTERS = range(4, 10)
WEIGHTS = (0.7, 0.2, 0.08, 0.02)  # of three letters, two, one, and none: what was seen seldom is not impossible
HIGHEST_CODE = ord("~")
HEAD = """\
# How likely a letter is after two others in names that people give: a row for each two, of "^" (the start) and
# a to z, 0 (any digit) and "-"; a character for each third, its code less 48 being quarter bits.
# source: names, descriptions and home pages of the packages of {release}, by bench/dga.py --train
"""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
DIGITS = "0123456789"
SYLLABLES = [first + second for first in "bcdfghjklmnprstvz" for second in "aeiou"]


def drawn(chance: random.Random) -> dict[str, Callable[[], str]]:
    """Return ways to draw a name."""
    words = [word for word in sorted(said()) if len(word) in WORD_LETTERS]
    return {
        "12 to 23 letters (Cryptolocker, Necurs)": lambda: _of(chance, LETTERS, 12, 23),
        "8 to 11 letters (Conficker)": lambda: _of(chance, LETTERS, 8, 11),
        "16 letters or digits (Murofet and others)": lambda: _of(chance, LETTERS + DIGITS, 16, 16),
        "32 hexadecimal digits (Bamital)": lambda: _of(chance, "0123456789abcdef", 32, 32),
        "consonants and vowels by turns (Simda)": lambda: "".join(chance.choices(SYLLABLES, k=chance.randrange(4, 6))),
        "two words (Suppobox)": lambda: "".join(chance.choices(words, k=2)),
    }


def _of(chance: random.Random, letters: str, least: int, most: int) -> str:
    return "".join(chance.choices(letters, k=chance.randint(least, most)))


def packages() -> Iterator[tuple[str, str, str]]:
    """Yield name, home page and description of each package."""
    listing = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True).stdout
    for paragraph in listing.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        yield fields.get("Package", ""), fields.get("Homepage", ""), fields.get("Description", "")


def homes() -> list[str]:
    """Return the registered labels of all home pages, each once, in an order that says nothing."""
    found = {
        dga.registered(host[1])
        for _, page, _ in packages()
        if (host := re.match(r"\w+://(?:[^/@]*@)?([\w.-]+)", page)) is not None
    }
    return sorted(found - {""}, key=lambda label: hashlib.sha256(label.encode()).digest())


def hosters() -> list[str]:
    """Return the registered labels of the private part of the Public Suffix List, which the model was not made of."""
    private = SUFFIXES.read_text(encoding="utf-8").partition("===BEGIN PRIVATE DOMAINS===")[2]
    names = (line.removeprefix("*.").removeprefix("!") for line in private.splitlines() if re.match(r"[a-z*!]", line))
    return sorted({dga.registered(name) for name in names} - {""})


def said() -> set[str]:
    """Return the words of the descriptions."""
    return {word for _, _, text in packages() for word in re.findall(r"[a-z]{3,}", text.lower())}


def train() -> str:
    """Return the model."""
    half = homes()
    samples = [*said(), *(name for name, _, _ in packages()), *half[: len(half) // 2]]
    counts: Counter[str] = Counter()
    for sample in samples:
        text = "".join("0" if letter.isdigit() else letter for letter in sample if letter.isalnum() or letter == "-")
        padded = dga.START * 2 + text
        for at in range(2, len(padded)):
            counts.update(padded[at - back : at + 1] for back in range(3))
            counts.update((padded[at - 2 : at] + "*", padded[at - 1] + "*", "*"))
    rows = (
        "".join(_code(_chance(counts, first + second, letter)) for letter in dga.ALPHABET)
        for first in dga.START + dga.ALPHABET
        for second in dga.START + dga.ALPHABET
    )
    system = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return HEAD.format(release=system["PRETTY_NAME"].strip('"')) + "\n".join(rows) + "\n"


def _chance(counts: Counter[str], before: str, letter: str) -> float:
    parts = (counts[before[back:] + letter] / max(counts[before[back:] + "*"], 1) for back in range(3))
    return sum(weight * part for weight, part in zip(WEIGHTS, (*parts, 1 / len(dga.ALPHABET)), strict=True))


def _code(chance: float) -> str:
    return chr(min(dga.FIRST_CODE + round(-log2(chance) * dga.PER_BIT), HIGHEST_CODE))


def suspects(labels: Iterable[str]) -> tuple[int, int]:
    """Return how many labels are suspect, and how many there are."""
    judged = [dga.is_suspect(f"{label}.com") for label in labels]
    return sum(judged), len(judged)


@click.command()
@click.option("--train", "anew", is_flag=True, help="Make the model anew first.")
def main(*, anew: bool) -> None:
    """Print how well it does."""
    if anew:
        MODEL.write_text(train(), encoding="ascii")
    labels = homes()
    for what, ordinary in (("home pages", labels[len(labels) // 2 :]), ("hosters and services", hosters())):
        wrong, all_of = suspects(ordinary)
        click.echo(f"ordinary names, {what}: {wrong} of {all_of} suspect, {wrong / all_of:.2%} false positives")
        click.echo(f"  they are: {', '.join(label for label in ordinary if dga.is_suspect(label + '.com')) or 'none'}")
    chance = random.Random(1)  # noqa: S311  # names that are the same each time
    for way, draw in drawn(chance).items():
        found, tried = suspects(draw() for _ in range(NAMES))
        click.echo(f"{way}: {found / tried:.1%} found")


if __name__ == "__main__":
    main()
