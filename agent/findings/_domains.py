"""What the types about names share: which name of a question, or of its answer, is on a threat list.

A question gives one finding of a type: when the name asked for is on the list, the
question does, and its answer says no more.  When it is not, the answer can: by the
names that it leads to (CNAME), or by its addresses.

All records of an answer count, whoever's they are: there are resolver libraries that
take them all, and who answers for a name chooses what is in it.
"""

from __future__ import annotations

from agent.model import Context
from agent.model import DnsAnswer
from agent.model import DnsQuery
from agent.model import Evidence
from agent.model import Intelligence
from agent.model import Sensitivity
from agent.model import Threat

CNAME = 5  # RFC 1035 3.2.2


def listed(finding: str, category: str, event: DnsQuery | DnsAnswer, context: Context) -> Evidence | None:
    """Return the evidence that a name is on a list of `category`: that of a question, or one its answer leads to."""
    intel = context.intel
    if isinstance(event, DnsQuery):
        threat = intel.domain(event.name, category)
        return None if threat is None else _evidence(finding, event, context, ("is", threat))
    for record in event.answers:
        threat = intel.domain(record.value, category) if record.type_raw == CNAME else None
        if threat is not None and intel.domain(event.name, category) is None:
            return _evidence(finding, event, context, (f"leads to {record.value}, which is", threat))
    return None


def resolved(
    finding: str, categories: tuple[str, ...], event: DnsQuery | DnsAnswer, context: Context
) -> Evidence | None:
    """Return the evidence that an address in an answer is on a list of one of `categories`.

    None where the name is on a list of the first category: the question was a finding already.
    """
    if isinstance(event, DnsQuery):
        return None
    for record in event.answers:
        threat = _located(record.value, categories, context.intel) if record.type_raw != CNAME else None
        if threat is not None and context.intel.domain(event.name, categories[0]) is None:
            return _evidence(finding, event, context, (f"resolves to {record.value}, which is", threat))
    return None


def is_repeated(context: Context) -> bool:
    """Answer whether a resolver of this host acts for another process, which is told itself; never at high."""
    return context.asker is not None and context.sensitivity is not Sensitivity.HIGH


def _located(address: str, categories: tuple[str, ...], intel: Intelligence) -> Threat | None:
    """Return the entry for an address in the first category that has one."""
    for category in categories:
        threat = intel.address(address, category)
        if threat is not None:
            return threat
    return None


def _evidence(finding: str, event: DnsQuery | DnsAnswer, context: Context, hit: tuple[str, Threat]) -> Evidence | None:
    """Return what the finding says of a name, the way from it to an entry, and that; unless it is known good."""
    if is_repeated(context):
        return None
    if context.benign.excuse(finding, event, context) is not None:
        return None
    way, threat = hit
    return Evidence(
        reason=f"{event.name} {way} under {threat.entry} of the list {threat.list_name}",
        domain=event.name,
        iana_protocol_number=event.protocol,
        threats=(threat,),
    )
