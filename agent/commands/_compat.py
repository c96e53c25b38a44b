"""What `vedette doctor` says of calls by 32-bit programs: whether they are seen, for which price, and what is not."""

from __future__ import annotations

from agent.commands._check import Check
from agent.health import Health
from agent.probes import prices
from agent.sensor.ebpf import compat

_COUNTER = "sensor.compat_attached"


def check(said: Health | None, refused: str | None) -> Check:
    """Return the answer.  `refused`: why the lane does not load, '' when it does, None when nothing was tried.

    `said` is what the agent that runs here counted: it alone knows what was configured.
    """
    if absent := compat.absent():
        return Check(ok=None, detail=absent)
    if refused is None:
        return Check(ok=None, detail="needs root")
    if refused:
        return Check(ok=False, detail=refused, advice="what 32-bit programs and int 0x80 do is unseen until it loads")
    return Check(ok=True, detail=_choice(said))


def _choice(said: Health | None) -> str:
    if said is None:
        return f"watched as [sensor] compat says: by default while one runs, for {prices.COMPAT} meanwhile"
    if _COUNTER not in said.counters:
        return 'unseen, and int 0x80 with them: the agent has compat = "off"'
    if said.counters[_COUNTER]:
        return f"watched now, and int 0x80 with them, for {prices.COMPAT}"
    return f"none runs; the first will be watched, for {prices.COMPAT}; until then int 0x80 of other programs is unseen"
