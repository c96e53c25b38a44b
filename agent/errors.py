"""The three families of error.

    AgentBug           we broke our own rules: report it, do not work around it
    PeerError          they did: a record, a file, a collector or a flag that is not as it must be
    HostUnsupported    this host lacks something; the text says what and what to do about it

Everything that reaches a person is one of these, raised with a sentence that
names the file, line or field and the remedy.  `agent.cli` turns them into one
line on standard error and an exit status; nothing else exits.
"""

from __future__ import annotations


class VedetteError(Exception):
    """Whatever we raise on purpose."""


class AgentBug(VedetteError):
    """A promise of our own was broken."""


class PeerError(VedetteError):
    """What came from outside is not as it must be."""


class ConfigError(PeerError):
    """A configuration file or option cannot be used; names file, line and key."""


class MalformedRecord(PeerError):
    """A record from the kernel does not parse.  Counted, never fatal."""


class CollectorError(PeerError):
    """The collector, or the agent on the other end, said something that cannot be."""


class StateError(PeerError):
    """A state directory, spool or store cannot be read or written."""


class HostUnsupported(VedetteError):
    """This host cannot do it: no root, no BTF, no bcc, no cgroup2."""


class AlreadyRunning(HostUnsupported):
    """Another agent watches this host."""
