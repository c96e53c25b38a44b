"""What the types about names share: which name of a question, or of its answer, is on a threat list.

A question gives one finding of a type: when the name asked for is on the list, the
question does, and its answer says no more.  When it is not, the answer can: by the
names that it leads to (CNAME), or by its addresses.

All records of an answer count, whoever's they are: there are resolver libraries that
take them all, and who answers for a name chooses what is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from agent.model import Context
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import Evidence
from agent.model import Intelligence
from agent.model import Threat

CNAME = 5  # RFC 1035 3.2.2


class _Hit(NamedTuple):
    """What is on a list, as the beginning of a sentence, and the entry that covers it."""

    what: str
    threat: Threat


def listed(finding: str, category: str, event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the evidence that a name is on a list of `category`: that of a question, or one its answer leads to."""
    if isinstance(event, DnsQuery):
        return _evidence(finding, event, context, _asked(event, context.intel, category))
    return _evidence(finding, event, context, _led_to(event, context.intel, category))


def resolved(
    finding: str, categories: tuple[str, ...], event: DnsQuery | DnsAnswer, context: Context
) -> Evidence | None:
    """Return the evidence that an address in an answer is on a list of one of `categories`.

    None where the name is on a list of the first category: the question was a finding already.
    """
    if isinstance(event, DnsQuery):
        return None
    return _evidence(finding, event, context, _resolved_to(event, context.intel, categories))


def _asked(event: DnsQuery, intel: Intelligence, category: str) -> _Hit | None:
    threat = intel.domain(event.name, category)
    return None if threat is None else _Hit(f"{event.name} is", threat)


def _led_to(event: DnsAnswer, intel: Intelligence, category: str) -> _Hit | None:
    aliases = [record.value for record in event.answers if record.type_raw == CNAME]
    found = ((alias, intel.domain(alias, category)) for alias in aliases)
    hits = (_Hit(f"{event.name} leads to {alias}, which is", threat) for alias, threat in found if threat is not None)
    return _first_news(hits, event, intel, category)


def _resolved_to(event: DnsAnswer, intel: Intelligence, categories: tuple[str, ...]) -> _Hit | None:
    addresses = [record.value for record in event.answers if record.type_raw != CNAME]
    found = ((one, intel.address(one, category)) for category in categories for one in addresses)
    hits = (_Hit(f"{event.name} resolves to {one}, which is", threat) for one, threat in found if threat is not None)
    return _first_news(hits, event, intel, categories[0])


def _first_news(hits: Iterator[_Hit], event: DnsAnswer, intel: Intelligence, category: str) -> _Hit | None:
    """Return the first of what an answer gives, unless its question was a finding already."""
    return next((hit for hit in hits if intel.domain(event.name, category) is None), None)


def _evidence(finding: str, event: DnsQuery | DnsAnswer, context: Context, hit: _Hit | None) -> Evidence | None:
    """Return what the finding says, unless this is known good."""
    if hit is None or context.benign.excuse(finding, event, context) is not None:
        return None
    return Evidence(
        reason=f"{hit.what} under {hit.threat.entry} of the list {hit.threat.list_name}",
        domain=event.name,
        iana_protocol_number=event.protocol,
        threats=(hit.threat,),
    )
