"""The collector: takes what agents send, keeps it durably, and answers questions about it.

    server     all of it together, and what a stopped one leaves behind: nothing unwritten
    address    where to listen, and whether plain text is allowed there
    ingest     streams of agents arrive (gRPC)      hello  bounds   who speaks, and how much at once
    session    one of them, to its end              sequence        which numbers are new, late or lost
    batching   its events on their way into files   keeping         what all streams share
    store      findings and agents in SQL           database  schema  spools  aggregate  guardduty
    events     events in Parquet                    names  classes  columns
    tidying    merging files, removing old ones     compact  shipping  retention
    triage     what people say of findings          suppression  matching  occurrences
    policy     what agents are to do                steering  governing  lists
    api        all of it over HTTP                  web  coverage
    exporting  findings go elsewhere                outbox  exports/  formats/
    query      reading both, running or not         sql
    strangers  hosts that ask for a certificate          enrol  rates  admission  tokens  members  instances
    service    the same over gRPC, and live         watch

It shares `proto/` with the agent and nothing else.
"""

from __future__ import annotations

import os

# gRPC has no setting for the least version of TLS. It takes the ciphers of TLS 1.2 from here, once, as it is imported,
# which is why it stands here; those of 1.3 are always there. This one needs a key that both ends were given beforehand,
# which ours are not: so 1.2 cannot come about, and a peer that can do no more is refused.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-CHACHA20-POLY1305"
