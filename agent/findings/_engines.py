"""What container engines and runtimes are called: data of the findings about escapes.

Sources: the packages of Debian 12, Fedora 40, Amazon Linux 2023, k3s 1.30, RKE2 1.30 and Bottlerocket 1.30 (as of
2026-11).
"""

from __future__ import annotations

SOCKETS = frozenset(
    {
        "docker.sock",
        "docker-raw.sock",
        "podman.sock",
        "containerd.sock",
        "crio.sock",
        "cri-dockerd.sock",
        "dockershim.sock",
    }
)
"""Names that the engines bind their API to, and with it root on the host."""
