"""Options by which a program is given text to run: shell text, or the text of a program.

Most command lines have none, some thousands of words among which there might be one: a single search over all says so.
"""

from __future__ import annotations

import re
from functools import lru_cache

CODES_KEPT = 16  # several findings ask about the same command
_CODE = re.compile(r"-[A-Za-z]*[ceErx]|--eval|--command")
_TEXT = re.compile(r"[-+][A-Za-z]*c")
_CODE_AMONG, _TEXT_AMONG, _EITHER_AMONG = (
    re.compile(f"\0(?:{options})\0") for options in (_CODE.pattern, _TEXT.pattern, f"{_CODE.pattern}|{_TEXT.pattern}")
)


def may_say(words: tuple[str, ...]) -> bool:
    """Answer whether text or code can be among the words."""
    return _is_among(words, _EITHER_AMONG)


def text_in(words: tuple[str, ...]) -> str | None:
    """Return the first argument that is no option, after the first that says that shell text follows."""
    rest = iter(words[1:] if _is_among(words, _TEXT_AMONG) else ())
    if any(_TEXT.fullmatch(word) for word in rest):
        return next((word for word in rest if not word.startswith(("-", "+"))), None)
    return None


@lru_cache(maxsize=CODES_KEPT)
def code_in(words: tuple[str, ...]) -> str | None:
    """Return what follows the first argument that says that a program's text does."""
    rest = iter(words[1:] if _is_among(words, _CODE_AMONG) else ())
    if any(_CODE.fullmatch(word) for word in rest):
        return "\n".join(rest) or None
    return None


def _is_among(words: tuple[str, ...], options: re.Pattern[str]) -> bool:
    return options.search("\0" + "\0".join(words) + "\0") is not None
