"""The collector: takes what agents send, keeps it durably, and answers questions about it.

    address   where to listen, and whether plain text is allowed there
    sequence  which messages of a lane are new, late or lost
    ingest    one stream of one agent; acknowledges what is durable
    store     findings and agents in SQL          events   events in Parquet
    aggregate guardduty                           columns  names  compact
    query     reading both, running or not        service  watch
    server    all of it together

It shares `proto/` with the agent and nothing else.
"""
