"""A process asks a resolver of its own for the address of a mining pool."""

from __future__ import annotations

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._network import ask

DOMAIN = "pool.minexmr.com"


def run() -> Deed:
    """Ask for the domain."""
    return ask(DOMAIN)


TRIGGER = Trigger(finding="CryptoCurrency:Runtime/BitcoinTool.B!DNS", needs=("root",), run=run)
