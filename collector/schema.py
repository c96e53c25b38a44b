"""The SQL tables: agents, findings, containers, and what people say of findings.

One row an agent's spool, one row an aggregated finding, one row a container of
which something was said lately.  `document` is the finding in GuardDuty's shape,
as JSON; the other columns of `findings` are there to be filtered by.  Times are Unix nanoseconds.
"""

from __future__ import annotations

from sqlalchemy import BigInteger
from sqlalchemy import Boolean
from sqlalchemy import Column
from sqlalchemy import Float
from sqlalchemy import Index
from sqlalchemy import Integer
from sqlalchemy import LargeBinary
from sqlalchemy import MetaData
from sqlalchemy import String
from sqlalchemy import Table
from sqlalchemy import Text
from sqlalchemy import false

VERSION = 1  # of these tables; a store that says another is refused, never guessed at

LANES = ("findings", "events")
COUNTS = ("through", "missing", "evicted", "duplicates")
"""Of each lane: what is durable, what was lost without a word, given up by the agent's spool, sent twice."""

metadata = MetaData()

meta = Table("meta", metadata, Column("version", Integer, nullable=False))

agents = Table(
    "agents",
    metadata,
    Column("host_id", String(255), primary_key=True),
    Column("spool_id", String(64), primary_key=True),
    Column("host_name", Text, nullable=False),
    Column("host", Text, nullable=False),  # JSON: the rest of Hello.host
    Column("agent_version", Text, nullable=False),
    Column("probes", Text, nullable=False),  # JSON: each with its name and state
    Column("counters", Text, nullable=False),  # JSON
    Column("resident_bytes", BigInteger),
    Column("standing", Text),  # JSON: processor time, spool, clock offset, policy; None before the first health
    Column("labels", Text),  # JSON: the operator's words about the host
    Column("first_seen_at_ns", BigInteger, nullable=False),
    Column("last_seen_at_ns", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False, server_default="0"),  # rises with each hello: `collector.spools`
    *(Column(f"{lane}_{count}", BigInteger, nullable=False) for lane in LANES for count in COUNTS),
    *(Column(f"{lane}_gaps", Text, nullable=False) for lane in LANES),  # JSON: the latest missing [first, last]
)

findings = Table(
    "findings",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("type", String(100), nullable=False),
    Column("severity", Float, nullable=False),
    Column("host_id", String(255), nullable=False),
    Column("container_id", Text),
    Column("process_path", Text),
    Column("process_name", Text),
    Column("process_pid", BigInteger),
    Column("count", BigInteger, nullable=False),
    Column("created_at_ns", BigInteger, nullable=False),
    Column("updated_at_ns", BigInteger, nullable=False),
    Column("first_seen_at_ns", BigInteger, nullable=False),
    Column("last_seen_at_ns", BigInteger, nullable=False),
    Column("place_bits", Integer, nullable=False, server_default="0"),  # what was known of where its host is
    Column("document", Text, nullable=False),
    Column("archived", Boolean, nullable=False, server_default=false()),
    Column("suppressed_by", String(16)),  # the rule that archived it
    Column("feedback", String(16)),  # GuardDuty's Feedback
    Index("findings_by_last_seen", "last_seen_at_ns"),
    Index("findings_by_place", "host_id", "place_bits"),
    Index("findings_by_container", "host_id", "container_id"),
    Index("findings_by_type", "type"),
)

containers = Table(
    "containers",
    metadata,
    Column("host_id", String(255), primary_key=True),
    Column("container_id", String(255), primary_key=True),
    Column("at_ns", BigInteger, nullable=False),  # when the agent knew it
    Column("name", Text),
    Column("image", Text),
    Column("pod_name", Text),
    Column("pod_namespace", Text),
    Column("message", LargeBinary, nullable=False),  # the Container of event.proto
    Index("containers_by_time", "host_id", "at_ns"),
)

staged = Table(
    "staged",  # of each collector the last event files of a spool, which count, and may not have their names yet
    metadata,
    Column("collector_id", String(64), primary_key=True),
    Column("host_id", String(255), primary_key=True),
    Column("spool_id", String(64), primary_key=True),
    Column("first", BigInteger, nullable=False),
    Column("last", BigInteger, nullable=False),
)

finding_entries = Table(
    "finding_entries",  # what was said of findings: archived, noted, useful or not
    metadata,
    Column("finding_id", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("who", Text, nullable=False),
    Column("what", String(16), nullable=False),
    Column("text", Text),
)

occurrences = Table(
    "occurrences",  # each with what names its event in the files
    metadata,
    Column("finding_id", String(32), primary_key=True),
    Column("number", BigInteger, primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("host_id", String(255), nullable=False),
    Column("spool_id", String(64), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("event_kind", Text, nullable=False),
    Column("event_time_ns", BigInteger, nullable=False),
    Column("process_pid", BigInteger, nullable=False),
    Column("process_uuid", Text, nullable=False),
)

suppressions = Table(
    "suppressions",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("description", Text, nullable=False),
    Column("criteria", Text, nullable=False),  # JSON, GuardDuty's FindingCriteria
    Column("created_at_ns", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("count", BigInteger, nullable=False),  # occurrences that it held for
    Column("last_at_ns", BigInteger),
)

policies = Table(
    "policies",  # what agents are to do, by who is meant
    metadata,
    Column("selector", String(320), primary_key=True),
    Column("document", Text, nullable=False),  # JSON, as docs/policy.md has it
    Column("changed_at_ns", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
)

lists = Table(
    "lists",  # threat and trusted lists that policies name
    metadata,
    Column("name", String(64), primary_key=True),
    Column("category", String(32), nullable=False),
    Column("format", String(32), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("content", LargeBinary, nullable=False),
    Column("changed_at_ns", BigInteger, nullable=False),
    Column("changed_by", Text, nullable=False),
    Index("lists_by_content", "sha256"),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("id", String(16), primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(8), nullable=False),
    Column("sha256", String(64), nullable=False),  # of the secret, which is kept nowhere
    Column("created_at_ns", BigInteger, nullable=False),
    Column("expires_at_ns", BigInteger, nullable=False),
)

export_queue = Table(
    "export_queue",  # what is to be told, and when: `collector.outbox`
    metadata,
    Column("export", String(64), primary_key=True),
    Column("finding_id", String(32), primary_key=True),
    Column("due_at_ns", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Index("export_queue_by_due", "export", "due_at_ns"),
)

export_sent = Table(
    "export_sent",  # of each finding the last time
    metadata,
    Column("export", String(64), primary_key=True),
    Column("finding_id", String(32), primary_key=True),
    Column("at_ns", BigInteger, nullable=False),
    Column("count", BigInteger, nullable=False),
)

export_dead = Table(
    "export_dead",  # what was refused for good
    metadata,
    Column("id", String(32), primary_key=True),
    Column("export", String(64), nullable=False),
    Column("finding_id", String(32), nullable=False),
    Column("at_ns", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("document", Text, nullable=False),
    Index("export_dead_by_time", "export", "at_ns"),
)
