"""A process in a container loaded a library that was created or changed after the container started.

Code put into a program of the image, through LD_PRELOAD, dlopen or a replaced file, without starting a new one.

Noise: extensions that a package manager or a compiler writes at start-up and the program then loads.
Blind to: libraries in a memfd, as JIT compilers map their code so; code copied into anonymous memory; anything on the
host; a file that outlived a restart of its container.
"""

from __future__ import annotations

from agent.findings._base import ASKS_COMPANY
from agent.findings._base import FindingType
from agent.findings._examples import AFTER_START
from agent.findings._examples import AT_START
from agent.findings._examples import FILE
from agent.findings._examples import executable
from agent.findings._examples import fires
from agent.findings._examples import in_container
from agent.findings._examples import library_map
from agent.findings._examples import on_host
from agent.findings._examples import process
from agent.findings._examples import silent
from agent.findings._examples import unknown_start
from agent.findings._examples import written_by
from agent.model import Context
from agent.model import Evidence
from agent.model import LibraryMap
from agent.model import Severity

NAME = "Execution:Runtime/NewLibraryLoaded"


def match(event: LibraryMap, context: Context) -> Evidence | None:
    """Return the library, who changed it and what preloaded it, if it is younger than its container."""
    if context.container is None or context.container.started_at_ns is None:
        return None
    if event.memfd or event.upper is False:
        return None
    if event.changed_at_ns <= context.container.started_at_ns:
        return None
    exe = context.actor.exe
    if exe is not None and exe.file == event.file:  # a program that maps itself is NewBinaryExecuted's
        return None
    if context.benign.excuse(NAME, event, context) is not None:
        return None
    return Evidence(
        reason=f"{event.path} was created or changed after its container started",
        library_path=event.path,
        ld_preload_value=context.actor.ld_preload,
        modifying_process=context.writer.process if context.writer else None,
        modified_at_ns=event.changed_at_ns,
    )


_CP = written_by(executable("/usr/bin/cp"))

FINDING = FindingType(
    name=NAME,
    severity=Severity.MEDIUM,
    company=ASKS_COMPANY,
    attack="T1574.006",
    title="{process} loaded a library that was created or changed {place}",
    on=LibraryMap,
    match=match,
    uses=("file_open",),
    examples=(
        fires(
            "preloaded",
            library_map(),
            in_container(actor=process("/usr/bin/true", ld_preload="/tmp/x.so")),  # noqa: S108  # a path in an example
            shows={"library_path": "/tmp/x.so", "ld_preload_value": "/tmp/x.so"},  # noqa: S108  # as above
        ),
        fires("opened by a program that is gone", library_map(), in_container(actor=process(exe=None))),
        fires(
            "copied in an overlay",
            library_map(upper=True),
            in_container(writer=_CP),
            shows={"modifying_process": _CP.process, "modified_at_ns": AFTER_START},
        ),
        silent("as old as the container", library_map(changed_at_ns=AT_START), in_container()),
        silent("in the image's layers", library_map(upper=False), in_container()),
        silent("a JIT's own memory", library_map(memfd=True), in_container()),
        silent("the program itself", library_map(), in_container(actor=process(exe=executable("/tmp/x", file=FILE)))),  # noqa: S108
        silent("in a container of unknown age", library_map(), in_container(container=unknown_start())),
        silent("on the host", library_map(), on_host()),
    ),
)
