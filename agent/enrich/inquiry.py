"""Between the tables and those who ask runtimes: what is asked, what was heard, and what is about to be."""

from __future__ import annotations

from functools import partial

from agent.counters import Counters
from agent.enrich.asking.asker import Asker
from agent.enrich.asking.foretold import foretold
from agent.enrich.asking.said import Question
from agent.enrich.asking.sources import Places
from agent.enrich.container_table import ContainerTable
from agent.enrich.containers import container_id as by_path
from agent.enrich.containers import plain_id
from agent.enrich.procfs import ProcFs
from agent.model import Container
from agent.model import Process


class Inquiry:
    """Asks the runtimes at some places; used by one thread."""

    def __init__(self, places: Places, *, counters: Counters, procfs: ProcFs) -> None:
        self._asker = Asker(places, counters=counters, holds=partial(_holds, procfs))

    def ask(self, question: Question) -> bool:
        """Put a question, False when it cannot be put; returns at once."""
        return self._asker.ask(question)

    def executed(self, process: Process) -> None:
        """Have the bundle read of a container that a runtime was started for."""
        found = foretold(process)
        if found is not None:
            self._asker.foretell(*found)

    def heard(self, containers: ContainerTable) -> list[Container]:
        """Put what was answered into the table; return those of which no more will be; never waits."""
        if self._asker.arrived():
            containers.ask_again()
        told = [containers.heard(answer) for answer in self._asker.heard()]
        return [container for container in told if not container.pending]

    def close(self) -> None:
        """Ask no more."""
        self._asker.close()


def _holds(procfs: ProcFs, pid: int, container_id: str) -> bool | None:
    """Tell whether a process is in the container with an id, None when it is gone."""
    path = procfs.cgroup_path(pid)
    if path is None:
        return None
    found = by_path(path) or plain_id(path)
    return found is not None and found.id == container_id
