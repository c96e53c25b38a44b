"""How a text is compared: each operator that a rule may use, as a function of one text.

None can be made to take long by what it is compared with.  `is`, `prefix`, `suffix`
and `contains` are Python's own.  A `glob` has `*` for any text and `?` for one
character, and becomes an expression that never goes back over what a `*` took (atomic
groups).  `regex` is RE2, which takes time in proportion to the text, refuses what it
cannot do so (backreferences, lookaround), and is loaded with the first rule that has one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from collections.abc import Sequence
from functools import partial
from typing import Any
from typing import NamedTuple

Compare = Callable[[Any], bool]
_REGEX_BYTES = 1 << 18  # what one may take, compiled and with the states it has been in: RE2's own default is 8 MiB


class Operator(NamedTuple):
    """How to make the comparison of the texts that are given, and what one costs in the end."""

    make: Callable[[Sequence[str], bool], Compare]
    """Takes them, and whether case counts.  Raises ValueError for what is none."""
    cost: int
    """About a tenth of a microsecond each; the cheap ones are asked first."""
    addresses: bool = False
    """Whether it is for addresses alone."""


def _is(wanted: Sequence[str], cased: bool) -> Compare:  # noqa: FBT001  # one face for all operators
    return frozenset(wanted).__contains__ if cased else lambda text: text.lower() in wanted


def _prefix(wanted: Sequence[str], cased: bool) -> Compare:  # noqa: FBT001  # as above
    some = tuple(wanted)
    return (lambda text: text.startswith(some)) if cased else lambda text: text.lower().startswith(some)


def _suffix(wanted: Sequence[str], cased: bool) -> Compare:  # noqa: FBT001  # as above
    some = tuple(wanted)
    return (lambda text: text.endswith(some)) if cased else lambda text: text.lower().endswith(some)


def _contains(wanted: Sequence[str], cased: bool) -> Compare:  # noqa: FBT001  # as above
    return partial(_contains_any, tuple(wanted), cased)


def _contains_any(wanted: tuple[str, ...], cased: bool, text: str) -> bool:  # noqa: FBT001  # as above
    looked_at = text if cased else text.lower()
    return any(one in looked_at for one in wanted)


def _glob(wanted: Sequence[str], cased: bool) -> Compare:  # noqa: FBT001  # as above
    matches = re.compile("|".join(map(_expression, wanted)), re.DOTALL).fullmatch
    return (lambda text: matches(text) is not None) if cased else lambda text: matches(text.lower()) is not None


def _expression(glob: str) -> str:
    """Return a glob as an expression that takes the first place for each piece, which is as good as any other."""
    first, *rest = ["".join("." if one == "?" else re.escape(one) for one in piece) for piece in glob.split("*")]
    if not rest:
        return first
    *middle, last = rest
    return f"{first}{''.join(f'(?>.*?{piece})' for piece in middle if piece)}.*{last}"


def _regex(wanted: Sequence[str], cased: bool) -> Compare:  # noqa: FBT001  # as above
    import re2  # noqa: PLC0415  4 MiB that an agent without such a rule does not need

    options = re2.Options()
    options.max_mem = _REGEX_BYTES
    options.log_errors = False
    options.case_sensitive = cased
    try:
        found = [re2.compile(one.encode(), options).search for one in wanted]
    except re2.error as error:
        said = error.args[0] if error.args else "not understood"
        raise ValueError(f"bad regex: {said.decode() if isinstance(said, bytes) else said}") from error
    return partial(_found_any, found)


def _found_any(searches: Sequence[Callable[[bytes], object]], text: str) -> bool:
    raw = text.encode(errors="replace")
    return any(search(raw) is not None for search in searches)


def _cidr(wanted: Sequence[str], _cased: bool) -> Compare:  # noqa: FBT001  # as above
    return partial(_in_any, tuple(map(ipaddress.ip_network, wanted)))


def _in_any(networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...], text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return any((mapped or address) in network for network in networks)


OPERATORS = {
    "is": Operator(_is, 1),
    "in": Operator(_is, 1),
    "prefix": Operator(_prefix, 1),
    "suffix": Operator(_suffix, 1),
    "contains": Operator(_contains, 3),
    "glob": Operator(_glob, 5),
    "cidr": Operator(_cidr, 20, addresses=True),
    "regex": Operator(_regex, 30),
}
"""By the name that a rule has for it."""
