from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from collector import columns
from collector.names import AgentKey
from tests.unit.collector.made import NOW_NS
from tests.unit.collector.made import event
from tests.unit.collector.made import events
from vedette.v1 import event_pb2

KEY = AgentKey("i-1", "spool")
SOCKET = event_pb2.Socket(protocol=6, local_address="10.0.0.5", local_port=1, remote_address="192.0.2.1", remote_port=2)
EXEC = event_pb2.ProcessExec(
    path="/bin/sh",
    args=["sh", "-c", "id"],
    upper=False,
    stdio=[event_pb2.Stdio(fd=0, kind="socket", socket=SOCKET), event_pb2.Stdio(fd=1, kind="tty", inode=7)],
)


def row(one: event_pb2.Event) -> dict[str, Any]:
    """Return one event the way it comes back from the store."""
    table = columns.table([one], KEY, NOW_NS)
    table.validate(full=True)
    result: dict[str, Any] = table.to_pylist()[0]
    return result


def test_every_field_of_every_kind_is_a_column() -> None:
    """A probe that is added to the .proto has its columns without a line of Python."""
    schema = columns.schema()

    assert columns.kinds() >= {"process_exec", "dns_query"}
    for kind in columns.kinds():
        descriptor = event_pb2.Event.DESCRIPTOR.fields_by_name[kind].message_type
        assert [field.name for field in schema.field(kind).type] == [field.name for field in descriptor.fields]


def test_one_kind_is_set_and_the_others_are_null() -> None:
    """A row holds its own kind and nothing that looks like another."""
    made = row(event(1, process_exec=EXEC))

    assert made["kind"] == "process_exec"
    assert [kind for kind in sorted(columns.kinds()) if made[kind] is not None] == ["process_exec"]


def test_nested_and_repeated_fields_come_back_whole() -> None:
    """Arguments, and the sockets within standard input and output."""
    made = row(event(1, process_exec=EXEC))["process_exec"]

    assert made["args"] == ["sh", "-c", "id"]
    assert made["stdio"][0]["socket"]["remote_address"] == "192.0.2.1"
    assert made["stdio"][1] == {"fd": 1, "kind": "tty", "socket": None, "inode": 7}


@pytest.mark.parametrize(
    ("expected", "given"),
    [
        pytest.param(None, event_pb2.ProcessExec(), id="unknown"),
        pytest.param(False, event_pb2.ProcessExec(upper=False), id="known to be false"),
        pytest.param(True, event_pb2.ProcessExec(upper=True), id="true"),
    ],
)
def test_unknown_is_null_and_not_false(expected: bool | None, given: event_pb2.ProcessExec) -> None:  # noqa: FBT001  a column
    """Absence survives: a query can tell what was not known."""
    assert expected is row(event(1, process_exec=given))["process_exec"]["upper"]


def test_kinds_mixed_in_one_file_keep_to_their_rows() -> None:
    """Each struct lands on the row that it belongs to."""
    mixed = [
        event(1, process_exit=event_pb2.ProcessExit(exit_code=1)),
        event(2, process_fork=event_pb2.ProcessFork(child_tgid=22)),
        event(3, process_exit=event_pb2.ProcessExit(signal=9)),
        event(4, fd_dup=event_pb2.FdDup(socket=SOCKET)),
    ]

    rows = columns.table(mixed, KEY, NOW_NS).to_pylist()

    assert [made["process_exit"] for made in rows] == [
        {"exit_code": 1, "signal": None},
        None,
        {"exit_code": None, "signal": 9},
        None,
    ]
    assert [made["process_fork"] and made["process_fork"]["child_tgid"] for made in rows] == [None, 22, None, None]
    assert rows[3]["fd_dup"]["socket"]["remote_port"] == 2


def test_an_event_from_a_newer_agent_keeps_its_header() -> None:
    """A kind that this collector does not know is null, and the event is there all the same."""
    unknown = event_pb2.Event(sequence=5, at_ns=NOW_NS)

    made = row(unknown)

    assert (made["sequence"], made["kind"], made["actor"]) == (5, None, None)


def test_the_greatest_numbers_fit() -> None:
    """Unsigned 64-bit fields do not wrap."""
    made = row(event_pb2.Event(sequence=2**64 - 1, time_ns=2**64 - 1, at_ns=-(2**63)))

    assert (made["sequence"], made["time_ns"], made["at_ns"]) == (2**64 - 1, 2**64 - 1, -(2**63))


def test_a_table_names_its_sender() -> None:
    """Rows say who sent them and when, without a look at the folder."""
    table = columns.table(events(1, 2), KEY, NOW_NS)

    assert table.column("host_id").to_pylist() == ["i-1", "i-1"]
    assert table.column("spool_id").to_pylist() == ["spool", "spool"]
    assert table.column("received_at_ns").to_pylist() == [NOW_NS, NOW_NS]
    assert table.schema == columns.schema()
    assert isinstance(table, pa.Table)
