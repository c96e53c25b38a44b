"""The three families of error, as the agent has them.

    CollectorBug       we broke our own rules: report it, do not work around it
    PeerError          they did: a configuration, an agent's message or a stored file is not as it must be
    HostUnsupported    this host lacks something, for now: an address, room on the disk

Everything that reaches a person is one of these, with a sentence that names the
file, line, address or field and the remedy.
"""

from __future__ import annotations


class CollectorFault(Exception):
    """Whatever the collector raises on purpose."""


class CollectorBug(CollectorFault):
    """A promise of our own was broken."""


class PeerError(CollectorFault):
    """What came from outside is not as it must be."""


class ConfigError(PeerError):
    """A configuration cannot be used; names file, line and key."""


class ProtocolError(PeerError):
    """An agent said something that cannot be: its stream ends with this sentence."""


class VersionError(PeerError):
    """An agent speaks a version of the protocol that is not known here."""


class IdentityError(PeerError):
    """An agent claims a name that its certificate does not carry, or has one that does not count any more."""


class Denied(PeerError):
    """Who asks for a certificate does not get one: shown to them, and in the log."""


class StateError(PeerError):
    """The state directory or what is in it cannot be read or written; may pass, as a full disk does."""


class Superseded(PeerError):
    """A newer stream took an agent's spool over: nothing more of the older one is kept."""


class TooMany(PeerError):
    """What was asked to be kept has no room, or its name is taken."""


class HostUnsupported(CollectorFault):
    """This host cannot do it."""


class AddressError(HostUnsupported):
    """The address to listen on cannot be had."""


class AlreadyRunning(HostUnsupported):
    """Another collector works on this state directory."""
