"""This process asks 127.x.y.z, port 53, for the address of a mining pool.

Nobody is asked in truth: the address is a random one of loopback, and the socket
that receives the question is ours and answers nothing.  Where a resolver has port
53 of every address, the question is not asked, since it would be passed on.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys

from agent.errors import HostUnsupported
from agent.simulate._base import TIMEOUT_SECONDS
from agent.simulate._base import Deed
from agent.simulate._base import Trigger

DOMAIN = "pool.minexmr.com"
TYPE_A = 1  # RFC 1035 3.2.2
CLASS_IN = 1  # RFC 1035 3.2.4
RECURSION_DESIRED = 0x0100  # RFC 1035 4.1.1


def question(name: str, transaction: int) -> bytes:
    """Return the DNS message that asks for the IPv4 address of `name` (RFC 1035 4.1)."""
    head = b"".join(number.to_bytes(2) for number in (transaction, RECURSION_DESIRED, 1, 0, 0, 0))
    labels = b"".join(len(label).to_bytes(1) + label.encode("ascii") for label in name.split("."))
    return head + labels + b"\0" + TYPE_A.to_bytes(2) + CLASS_IN.to_bytes(2)


def run() -> Deed:
    """Ask a socket of our own for a pool's address."""
    address = "127." + ".".join(str(1 + secrets.randbelow(254)) for _ in range(3))
    message = question(DOMAIN, secrets.randbits(16))
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker,
    ):
        try:
            resolver.bind((address, 53))
        except PermissionError as error:
            raise HostUnsupported("port 53 needs root: run this with sudo") from error
        except OSError as error:
            raise HostUnsupported(f"a resolver of this host listens everywhere, nothing is asked: {error}") from error
        resolver.settimeout(TIMEOUT_SECONDS)
        asker.sendto(message, (address, 53))
        resolver.recv(len(message))
    return Deed(
        pid=os.getpid(),
        path=os.path.realpath(sys.executable),
        container_id=None,
        note=f"asked {address}:53, which is this process itself, for {DOMAIN}",
    )


TRIGGER = Trigger(finding="CryptoCurrency:Runtime/BitcoinTool.B!DNS", needs=("root",), run=run)
