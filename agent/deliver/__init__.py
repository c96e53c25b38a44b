"""Stage 5: what was seen and found leaves for the collector, by way of the disk.

secrets     what a secret looks like in the arguments of a program
redaction   secrets leave out of what leaves
wire        model -> protobuf, and nothing else
lanes       the nouns of the spool: a lane, a row, a gap
spoolfile   rows in one SQLite file; spoolmemory where there can be none
spool       sequences, bounds and what to do when the disk does not cooperate
session     the protocol as a table, without I/O
inbox       what a collector wants of this agent, until somebody acts upon it
pace        how fast a backlog of events may leave
target      where the collector is, and what the way there demands
locating    which host of a service in DNS to dial next; srv is the child that asks
client      one dialled stream; the only module that talks to gRPC
delivery    the stage itself: what the pipeline calls
"""
