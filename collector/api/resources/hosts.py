"""Hosts: their agents, and whether they are covered."""

from __future__ import annotations

from typing import Literal

import msgspec

from collector import coverage
from collector import query
from collector.api.routes import Call
from collector.api.routes import Refusal
from collector.api.routes import Route
from collector.coverage import Host


class Listing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which hosts."""

    status: Literal["HEALTHY", "UNHEALTHY"] | None = None


class Hosts(msgspec.Struct, frozen=True):
    """Hosts by name."""

    hosts: list[Host]


def listing(call: Call) -> Hosts:
    """List hosts with their agents, and whether each is covered."""
    found = coverage.hosts(query.agents(call.desk.state_dir, call.desk.url), call.desk.now_ns())
    wanted = call.parameters.status
    return Hosts([host for host in found if wanted in (None, host.coverage_status)])


def one(call: Call) -> Host:
    """Return one host, by its id."""
    found = coverage.hosts(query.agents(call.desk.state_dir, call.desk.url), call.desk.now_ns())
    for host in found:
        if host.host_id == call.path["id"]:
            return host
    raise Refusal(404, "no agent of a host with this id was ever here")


ROUTES = (
    Route(method="GET", path="/v1/hosts", answer=listing, parameters=Listing, returns=Hosts),
    Route(method="GET", path="/v1/hosts/{id}", answer=one, returns=Host),
)
