"""Stage 3: who did it, in which container, on which host, and what file that was.

enricher = Enricher(host=this_host(), counters=counters)
enricher.seed()
surroundings = enricher.enrich(event)
"""

from __future__ import annotations

from agent.enrich.enricher import Enricher
from agent.enrich.hashes import Digest
from agent.enrich.host import this_host
from agent.enrich.limits import Limits
from agent.enrich.procfs import ProcFs

__all__ = ["Digest", "Enricher", "Limits", "ProcFs", "this_host"]
