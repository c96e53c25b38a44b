"""A process asks a resolver of its own, in a network of its own, for a name, and is told 169.254.169.254."""

from __future__ import annotations

from agent.simulate._base import Deed
from agent.simulate._base import Trigger
from agent.simulate._network import ask_and_hear

NAME = "rebind.vedette.example"  # RFC 2606: nobody's
METADATA = "169.254.169.254"


def run() -> Deed:
    """Ask for a name that is nobody's, and answer with the address of the metadata service."""
    return ask_and_hear(NAME, METADATA)


TRIGGER = Trigger(finding="UnauthorizedAccess:Runtime/MetadataDNSRebind", needs=("root",), run=run)
