"""What the agent asks of its child, what the child answers, and how it is started."""

from __future__ import annotations

import subprocess
import sys

import msgspec

from agent.errors import AgentBug
from agent.errors import HostUnsupported

LIMIT_S = 90.0  # DNS, TLS, a signature on a busy collector, and on EC2 its metadata service


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt to join, or to renew."""

    directory: str
    host_id: str
    product_uuid: str | None = None
    token: str | None = None
    """As it was given."""
    enrolment: str | None = None
    """With `ca_file`: where to join by EC2's document, which `ec2_endpoint` has."""
    collector: str | None = None
    """What the collector's address is in the end; of a renewal, whom to ask."""
    ca_file: str | None = None
    ec2_endpoint: str | None = None
    renew: bool = False


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How it went."""

    done: bool
    text: str
    refused: bool = False
    """The collector said no: the same asked again is answered the same."""


def send(errand: Errand) -> Outcome:
    """Have a child do it; never longer than LIMIT_S. Raises HostUnsupported when no child can be made."""
    command = [sys.executable, "-I", "-m", "agent.enrol"]
    try:
        done = subprocess.run(
            command, input=msgspec.json.encode(errand), capture_output=True, timeout=LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome(done=False, text=f"no answer within {LIMIT_S:.0f} s")
    except OSError as exc:
        raise HostUnsupported(f"no child process can be started: {exc.strerror}") from exc
    try:
        return msgspec.json.decode(done.stdout, type=Outcome)
    except msgspec.DecodeError:
        last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2][:300]
        return Outcome(done=False, text=f"the child that asks for a certificate broke: {last}")


def read(text: bytes) -> Errand:
    """Return the errand that a child was given. Raises AgentBug."""
    try:
        return msgspec.json.decode(text, type=Errand)
    except msgspec.DecodeError as exc:
        raise AgentBug(f"the child was given no errand: {exc}") from exc
