"""Arguments as miners take them: a pool, a wallet, an algorithm.

One sign alone is ordinary (`curl -o FILE -u USER`, `grep stratum+tcp://`); a miner
needs at least where to mine and for whom, or how.  One of the signs must be of
miners alone, unless all three of `-o HOST:PORT -u USER -p x` are there.

Options of xmrig, cpuminer(-opt), ccminer, ethminer, lolMiner, T-Rex, NBMiner,
SRBMiner and GMiner, as their documentation of 2026-11 has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from collections.abc import Iterator

from agent.model import Context

ARGUMENT_CHARACTERS_MAX = 512  # a pool's address with a wallet in it is shorter
_POOL = re.compile(
    r"(?:-o)?(?:stratum[12]?|ethproxy|ethstratum)(?:\+?(?:tcp|ssl|tls|udp))?://\S{1,400}:[0-9]{1,5}/?\S{0,64}"
)
_ADDRESS = re.compile(r"(?:[a-z0-9+]{1,16}://)?([a-zA-Z0-9.-]{1,253}):[0-9]{1,5}/?")
# Monero (95 or 106 characters of Base58), Bitcoin's three forms, Ethereum's.
_WALLET = re.compile(
    r"(?:[48][1-9A-HJ-NP-Za-km-z]{94}(?:[1-9A-HJ-NP-Za-km-z]{11})?|bc1[a-z0-9]{38,58}|[13][1-9A-HJ-NP-Za-km-z]{25,34}"
    r"|0x[0-9a-fA-F]{40})(?:[.+/].{0,128})?"
)
_ALGORITHM = re.compile(
    r"(?:rx|cn|cn-lite|cn-heavy|cn-pico|argon2)/[a-z0-9]{1,12}|randomx|cryptonight[a-z0-9_/-]{0,24}|ghostrider|gr|kawpow|"
    r"ethash|etchash|progpow[a-z]{0,8}|equihash[0-9/_,]{0,12}|autolykos2?|octopus|verthash|yespower[a-z0-9]{0,8}|"
    r"sha256d|scrypt|x1[1-7]r?|lyra2[a-z0-9]{0,6}|astrobwt[a-z0-9/]{0,6}|kheavyhash|fishhash|nexapow|blake3|zelhash",
    re.IGNORECASE,
)
_WHERE = frozenset({"-o", "--url", "--pool", "-pool", "-P", "-S", "--server", "-s", "--host"})
_WHO = frozenset({"-u", "--user", "-O", "--userpass", "--wallet", "-wal", "-w", "-epsw"})
_PASSWORD = frozenset({"-p", "--pass", "--password"})
_HOW = frozenset({"-a", "--algo", "--algorithm"})
_OWN = frozenset(
    {
        "--donate-level",
        "--donate-over-proxy",
        "--nicehash",
        "--cpu-max-threads-hint",
        "--coin",
        "--rig-id",
        "--randomx-mode",
        "--randomx-init",
        "--randomx-1gb-pages",
        "--randomx-no-numa",
        "--randomx-wrmsr",
        "--randomx-no-rdmsr",
    }
)
_ANY_OPTION = _WHERE | _WHO | _PASSWORD | _HOW | _OWN
_OF_MINERS = frozenset({"a pool", "a wallet", "an algorithm", "an option of miners"})
_TRIPLE = frozenset({"an address", "a user", "the password x"})


def signs(args: tuple[str, ...], context: Context) -> frozenset[str]:
    """Return in words what makes the arguments those of a miner; none when they are not."""
    if not may_say(args):
        return frozenset()
    found = frozenset(_signs(args, context))
    several = len(found) > 1 and not _OF_MINERS.isdisjoint(found)
    return found if several or found >= _TRIPLE else frozenset()


def may_say(args: tuple[str, ...]) -> bool:
    """Answer whether there can be a sign in the arguments, without looking at each: mostly there is none."""
    if not _ANY_OPTION.isdisjoint(args):
        return True
    text = "\0".join(args)
    return "://" in text or ("=" in text and any(f"{option}=" in text for option in _ANY_OPTION))


def _signs(args: Iterable[str], context: Context) -> Iterator[str]:
    option = ""
    for argument in args:
        if len(argument) > ARGUMENT_CHARACTERS_MAX:
            option = ""
            continue
        name, joined, value = argument.partition("=")
        if name in _OWN:
            yield "an option of miners"
        sign = _sign(name, value, context) if joined else _sign(option, argument, context)
        if sign is not None:
            yield sign
        option = argument


def _sign(option: str, value: str, context: Context) -> str | None:
    """Return what the value of an option, or an argument by itself, says."""
    if "://" in value and _POOL.fullmatch(value) is not None:
        return "a pool"
    if option in _WHERE and (address := _ADDRESS.fullmatch(value)) is not None:
        return "an address" if context.intel.domain(address[1], "cryptocurrency") is None else "a pool"
    if option in _WHO:
        return "a user" if _WALLET.fullmatch(value) is None else "a wallet"
    if option in _PASSWORD and value in {"x", "X"}:
        return "the password x"
    return "an algorithm" if option in _HOW and _ALGORITHM.fullmatch(value) is not None else None
