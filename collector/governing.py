"""The Governance service of gRPC: operators read and set policies.

Over mutual TLS that takes a certificate named in `writers`, and in plain text a unix socket, whose owner (and
`socket_group`) are who may: on 127.0.0.1 any local user would do.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING
from typing import Any

import grpc
import msgspec
from sqlalchemy import Connection
from sqlalchemy import select

from collector import policy
from collector import schema
from collector.errors import PeerError
from collector.errors import StateError
from collector.hello import certified_names
from collector.keeping import Keeping
from collector.policy import Change
from collector.policy import NewList
from collector.policy import PolicyError
from collector.trust import peer_of
from vedette.v1 import policy_pb2

if TYPE_CHECKING:
    Handler = grpc.GenericRpcHandler[Any, Any]
    Context = grpc.aio.ServicerContext[Any, Any]

SERVICE = "vedette.v1.Governance"
AGENTS = 10_000  # shown, those that were here last

_WRITERS = "certificates that the collector's configuration names under `writers`"


class Governance:
    """Answers operators; belongs to one event loop."""

    def __init__(self, keeping: Keeping) -> None:
        self._keeping = keeping

    def handler(self) -> Handler:
        """Return the service as gRPC takes it."""
        row, answer = policy_pb2.PolicyRow.SerializeToString, policy_pb2.PolicyAnswer.SerializeToString
        show = grpc.unary_stream_rpc_method_handler(self._show, policy_pb2.PolicyQuery.FromString, row)
        put = grpc.unary_unary_rpc_method_handler(self._set, policy_pb2.PolicyChange.FromString, answer)
        return grpc.method_handlers_generic_handler(SERVICE, {"Show": show, "Set": put})

    async def _show(self, _request: policy_pb2.PolicyQuery, context: Context) -> None:
        await self._require_operator(context)
        try:
            rows = await self._keeping.in_sql(partial(self._rows))
        except StateError as exc:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(exc))
        for row in rows:
            await context.write(policy_pb2.PolicyRow(json=json.dumps(row).encode()))

    async def _set(self, request: policy_pb2.PolicyChange, context: Context) -> policy_pb2.PolicyAnswer:
        who = await self._require_operator(context)
        try:
            count = await self._keeping.in_sql(partial(self._change, request, who))
        except PolicyError as exc:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(exc))
        except PeerError as exc:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(exc))
        self._keeping.news.tell()
        return policy_pb2.PolicyAnswer(agents=count)

    def _rows(self) -> list[dict[str, Any]]:
        with self._keeping.store.database.transaction() as sql:
            rows: list[dict[str, Any]] = [{"policy": one} for one in policy.policies(sql)]
            rows += [{"list": msgspec.to_builtins(one)} for one in policy.lists(sql)]
            return rows + [{"agent": one} for one in _agents(sql)]

    def _change(self, request: policy_pb2.PolicyChange, who: str) -> int:
        """Keep what was asked for; return for how many agents that is. Raises PolicyError, StateError."""
        change = Change(who, self._keeping.now_ns())
        with self._keeping.store.database.transaction() as sql:
            for one in request.lists:
                policy.put_list(sql, _new(one), change)
            if request.document:
                policy.put(sql, request.selector, request.document, change)
            elif not policy.remove(sql, request.selector):
                raise PolicyError(f"there is no policy for {ascii(request.selector)[:80]}")
            agents = sql.execute(select(schema.agents.c.host_id, schema.agents.c.labels)).all()
            return sum(policy.concerns(request.selector, id_, json.loads(labels or "{}")) for id_, labels in agents)

    async def _require_operator(self, context: Context) -> str:
        """Return who it is; end the call of who may not."""
        names = certified_names(context.auth_context())
        if names is None:
            if not context.peer().startswith("unix:"):
                why = "policies are set over a unix socket or with a certificate: on 127.0.0.1 anybody could be asking"
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, why)
            return "local"
        peer, trust = peer_of(context.auth_context()), self._keeping.trust
        refusal = None if peer is None or trust is None else trust.refusal(peer)
        mine = names.intersection(self._keeping.config.writers)
        if refusal is not None or not mine:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, refusal or f"only {_WRITERS} may do that")
        return min(mine)


def _new(one: policy_pb2.ListFile) -> NewList:
    """Return a list as it came. Raises PolicyError."""
    told = {"name": one.name, "category": one.category, "format": one.format or "txt", "content": one.content}
    try:
        return msgspec.convert(told, NewList)
    except msgspec.ValidationError as exc:
        raise PolicyError(f"list {ascii(one.name)[:80]}: {exc}") from exc


def _agents(sql: Connection) -> Iterator[dict[str, Any]]:
    """Yield what agents said of their policy, and which is for each, those that were here last first."""
    table = schema.agents
    query = select(table.c.host_id, table.c.host_name, table.c.standing, table.c.labels, table.c.last_seen_at_ns)
    for row in sql.execute(query.order_by(table.c.last_seen_at_ns.desc()).limit(AGENTS)).all():
        labels = json.loads(row.labels or "{}")
        wanted = policy.of(sql, row.host_id, labels)
        yield {
            "hostId": row.host_id,
            "hostName": row.host_name,
            "labels": labels,
            "lastSeenAtNs": row.last_seen_at_ns,
            "policy": json.loads(row.standing or "{}").get("policy", {}),
            "wanted": None if wanted is None else wanted.version,
        }
