"""The collector: takes what agents send, keeps it durably, and answers questions about it.

    server     all of it together, and what a stopped one leaves behind: nothing unwritten
    address    where to listen, and whether plain text is allowed there
    ingest     streams of agents arrive (gRPC)      hello  bounds   who speaks, and how much at once
    session    one of them, to its end              sequence        which numbers are new, late or lost
    batching   its events on their way into files   keeping         what all streams share
    store      findings and agents in SQL           database  schema  spools  aggregate  guardduty
    events     events in Parquet                    names  classes  columns  compact
    query      reading both, running or not
    service    the same over gRPC, and live         watch

It shares `proto/` with the agent and nothing else.
"""
