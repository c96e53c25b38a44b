"""How much a domain looks as if an algorithm had drawn its letters, in bits of evidence.

The label that somebody registered (`example` of www.example.co.uk) is looked at:
each letter is more or less likely after the two before it, in names that people
give (dga_model.txt), and equally likely in names that are drawn.  The score is the
logarithm of how much more likely the label is drawn: 0 leaves it open, every bit
more doubles the odds.  bench/dga.py makes the model and measures it.

Blind to: names made of words or syllables; short names, which say too little.
Wrong of: acronyms and serial numbers; hence a list decides first, and this alone
only where an operator wants to hear of everything.
"""

from __future__ import annotations

import functools
from importlib import resources
from math import log2

from agent.intel.snapshot import TRUSTED
from agent.model import Intelligence

ALPHABET = "abcdefghijklmnopqrstuvwxyz0-"
"""Every digit is `0`: which one says nothing."""
START = "^"
LETTERS_MIN = 7  # seven drawn letters give 11 bits on average; of less nothing can be said
LETTERS_MAX = 63  # RFC 1035 2.3.4
SUSPECT_BITS = 14.0
"""From here on a name is suspect: bench/dga.py prints how many ordinary names are, and how many drawn ones are not."""
PER_BIT = 4  # steps of the numbers in the model
FIRST_CODE = ord("0")
# Labels under which names are registered in two-letter domains, such as co.uk: nearly all of the ICANN part of the
# Public Suffix List that has two labels (publicsuffix.org).
SECOND_LEVEL = frozenset(
    {"ac", "co", "com", "edu", "gob", "gouv", "gov", "gv", "go", "gr", "id", "info", "ltd", "me", "mil", "ne", "net"}
    | {"nom", "or", "org", "plc", "sch"}
)
_DRAWN_LETTER = log2(26)  # bits of a letter that is drawn from the alphabet
_DRAWN_MIXED = log2(36)  # of one that is drawn from letters and digits
_DIGIT_BITS = log2(36 / 10)  # of its being any digit
_HYPHEN_BITS = 10.0  # algorithms hardly use one


def score(name: str) -> float | None:
    """Return the bits of evidence; None of a name of which nothing can be said."""
    label = registered(name)
    if not LETTERS_MIN <= len(label) <= LETTERS_MAX or label.startswith("xn--"):
        return None
    text = "".join("0" if letter.isdigit() else letter for letter in label)
    if not set(text) <= set(ALPHABET):
        return None
    return named_bits(text) - drawn_bits(text)


def is_suspect(name: str) -> bool:
    """Return whether a name looks drawn."""
    bits = score(name)
    return bits is not None and bits >= SUSPECT_BITS


def suspicion(name: str, intel: Intelligence) -> float | None:
    """Return the bits of evidence for a suspect name that no trusted list covers, None for any other."""
    bits = score(name)
    if bits is None or bits < SUSPECT_BITS or intel.domain(name, TRUSTED) is not None:
        return None
    return bits


def registered(name: str) -> str:
    """Return the label that somebody registered, in lower case; empty where there is none."""
    *labels, top = name[-254:].lower().removesuffix(".").split(".")
    if len(labels) > 1 and len(top) == len("uk") and labels[-1] in SECOND_LEVEL:
        labels.pop()
    return labels[-1] if labels else ""


def named_bits(text: str) -> float:
    """Return how unlikely a label is among names that people give, in bits."""
    costs, padded = _model(), START + START + text
    return sum(costs[padded[at : at + 3]] for at in range(len(text)))


def drawn_bits(text: str) -> float:
    """Return how unlikely it is among names that are drawn, from letters or from letters and digits."""
    digits, hyphens = text.count("0"), text.count("-")
    letters = len(text) - digits - hyphens
    mixed = letters * _DRAWN_MIXED + digits * _DIGIT_BITS
    return hyphens * _HYPHEN_BITS + (mixed if digits else letters * _DRAWN_LETTER)


@functools.cache
def _model() -> dict[str, float]:
    """Return the bits of a letter by the two before it and itself."""
    text = resources.files(__package__).joinpath("dga_model.txt").read_text(encoding="ascii")
    rows = [line for line in text.splitlines() if not line.startswith("#")]
    pairs = (first + second for first in START + ALPHABET for second in START + ALPHABET)
    return {
        pair + letter: (ord(code) - FIRST_CODE) / PER_BIT
        for pair, row in zip(pairs, rows, strict=True)
        for letter, code in zip(ALPHABET, row, strict=True)
    }
