"""How much enrichment may remember.  Whatever is dropped at a limit is counted."""

from __future__ import annotations

import msgspec

NS_PER_S = 1_000_000_000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Caps of every table and cache; the agent as a whole has 64 MB."""

    living: int = 8_192
    """Processes (not threads). A full Kubernetes node runs 3,000 to 5,000; about 1 KB each."""
    dead: int = 1_024
    """Half a second of a loop that starts 2,000 programs a second: events reach us within a tenth of one."""
    dead_ns: int = 60 * NS_PER_S
    """Longer than any event waits in the rings, the reader and the pipeline."""
    ancestors: int = 2_048
    """Dead ones with a living descendant: daemons whose starter is gone."""
    lineage: int = 16
    """GuardDuty's lineage is shorter; deeper trees are shells in shells, and each step is paid on every event."""
    args_bytes: int = 4_096
    """Of the copy in the table; the event itself has what the kernel gave."""
    containers: int = 4_096
    """Ten times what a node may run (110 pods), restarts of the last minute included."""
    container_characters: int = 4 * 1024 * 1024
    """Labels and mounts of all containers together: some 500 bytes each is the custom; beyond it they go without."""
    container_ns: int = 60 * NS_PER_S
    """How long a container is known after its last process: events of it may still be on their way."""
    writers: int = 8_192
    """A minute of a large build. Each keeps the Process that wrote alive: 8 MB when every file had another one."""
    cookies: int = 16_384
    """As many connections as a busy proxy opens in a few seconds; a shell is put on its socket at once."""
    resolvers: int = 256
    """Programs that have a port 53: one or two, or one for each container network."""
    speakers: int = 1_024
    """Processes that speak to anybody: some hundreds. Each keeps 64 addresses at most: 4 MB if all of them did."""
    starters: int = 512
    """Processes that started a program in the last minute; each keeps 16 of them alive, most of which are in the other
    tables anyway: 8 MB if none was."""
    wires: int = 2_048
    """Processes and pipes that began lately: a reverse shell is put together within a second."""
    links: int = 1_024
    """Symbolic links that were made lately: an installation makes some hundreds; a few hundred bytes each."""
    servers: int = 1_024
    """Processes that listen: some hundreds on a full node, with the workers that accept."""
    hashes: int = 4_096
    """Different executables on a host and in its images: some hundreds."""
    hash_queue: int = 512
    """What piles up in a second or so when many new programs start; each holds one Process."""
    hash_bytes: int = 256 * 1024 * 1024
    """About half a second of SHA-256; larger programs than this are rare, and sparse ones are traps."""
    hash_stall_s: float = 10.0
    """A read that gives nothing for so long hangs in a file system; its thread is given up."""
    hash_threads_lost: int = 4
    """How many threads may be given up before hashing is switched off."""
    runtimes: int = 64
    """Executables of container runtimes on one host: a handful, and those that were replaced by upgrades."""
    missing: int = 1_024
    """Processes that were looked for in /proc once and were gone."""


DEFAULTS = Limits()
