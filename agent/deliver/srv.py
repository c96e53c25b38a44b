"""The child that asks DNS for the hosts of a service (RFC 2782) and prints them; dnspython stays out of the agent.

The servers are those of resolv.conf(5). What it prints is a list of
[priority, weight, host, port], JSON.
"""

from __future__ import annotations

import json
import sys

import dns.exception
import dns.resolver

WITHIN_S = 8.0
HOSTS_MAX = 32  # what is more than anybody has would only be dialled for an hour

Service = tuple[int, int, str, int]


def services(name: str, resolver: dns.resolver.Resolver) -> list[Service]:
    """Return priority, weight, host and port of each. Raises dns.exception.DNSException."""
    answer = resolver.resolve(name, "SRV", lifetime=WITHIN_S, search=False)
    found = [(one.priority, one.weight, one.target.to_text(omit_final_dot=True), one.port) for one in answer]
    return [one for one in found if one[2] and one[3]][:HOSTS_MAX]  # `.` says that there is none (RFC 2782)


def main() -> None:
    """Answer for the name on the command line; on failure a line on standard error, and status 1."""
    try:
        found = services(sys.argv[1], dns.resolver.Resolver())
    except (dns.exception.DNSException, OSError) as exc:
        sys.exit(str(exc))
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
