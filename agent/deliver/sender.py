"""Empties the spool towards the collector, conversation after conversation.

Two threads do the talking: ours dials, listens and waits between dials; gRPC's
takes the next message whenever the last one has left, from `_messages`. Neither
holds a lock over the network.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from collections.abc import Iterator

from agent.counters import Counters
from agent.deliver.client import Line
from agent.deliver.client import Refused
from agent.deliver.inbox import Inbox
from agent.deliver.lanes import Lane
from agent.deliver.lanes import Row
from agent.deliver.pace import Pace
from agent.deliver.session import Session
from agent.deliver.session import State
from agent.deliver.spool import Spool
from agent.deliver.target import Target
from agent.deliver.wire import UnreadableRow
from agent.deliver.wire import message_of
from agent.errors import CollectorError
from agent.errors import ConfigError
from agent.errors import StateError
from vedette.v1 import ingest_pb2

IDLE_S = 1.0  # how often an idle sender looks at the clock
SOON_DAYS = 14  # two weeks: a person who renews by hand may be away for one
LEAVE_S = 1.0  # a collector that listens answers the end of a stream within milliseconds
JOIN_S = 5.0  # a cancelled stream ends within milliseconds; the thread is a daemon, so nothing depends on it

log = logging.getLogger(__name__)


class _Conversation:
    """One dial: its line, the spool it speaks of, and how to wake who sends."""

    def __init__(self, target: Target, spool_id: str) -> None:
        self.line = Line(target)
        self.spool_id = spool_id
        self.wake = threading.Event()
        self.over = False
        self.ending = False
        """There will be nothing more to send than there is: what is there goes, and the collector takes leave."""
        self.trouble: str | None = None
        """Why we hung up ourselves."""
        self.health: bytes | None = None
        """The last that was sent."""

    def hang_up(self, trouble: str | None = None) -> None:
        self.trouble = self.trouble or trouble
        self.over = True
        self.wake.set()
        self.line.hang_up()


class Sender:
    """Keeps a conversation with the collector going, from `start` to `stop`."""

    def __init__(
        self, *, spool: Spool, target: Target, counters: Counters, hello: Callable[[str], bytes], inbox: Inbox
    ) -> None:
        """`hello` returns the AgentMessage that opens a stream about a spool, by the spool's id."""
        self._inbox = inbox
        self._pace = Pace()
        self.clock_offset_ms: int | None = None
        """By how much the collector's clock was ahead when it last said the time, the way here included."""
        self._spool = spool
        self._target = target
        self._counters = counters
        self._hello = hello
        self._health: bytes | None = None
        self._session = Session()
        self._session_lock = threading.Lock()
        self._conversation: _Conversation | None = None
        self._refusal: str | None = None
        self._said: str | None = None
        """The trouble that was last logged: each is logged once, not once per dial."""
        self._stopping = threading.Event()
        self._progress = threading.Event()
        self._thread = threading.Thread(target=self._run, name="deliver", daemon=True)

    @property
    def state(self) -> str:
        """Return `connected`, `connecting`, or `refused: ` and why."""
        if self._session.state is State.STREAMING:
            return "connected"
        refusal = self._refusal
        return "connecting" if refusal is None else f"refused: {refusal}"

    def start(self) -> None:
        """Begin to dial."""
        self._thread.start()

    def wake(self) -> None:
        """Say that there is something to send."""
        conversation = self._conversation
        if conversation is not None:
            conversation.wake.set()

    def health(self, message: bytes) -> None:
        """Replace the AgentMessage with health that is sent next, within IDLE_S."""
        self._health = message

    def watch(self) -> None:
        """Hang up when the collector owes us a word."""
        with self._session_lock:
            overdue = self._session.overdue(time.monotonic())
        conversation = self._conversation
        if overdue and conversation is not None:
            conversation.hang_up(overdue)

    def await_progress(self, timeout_s: float) -> bool:
        """Wait until the collector says something; return False when nothing more can come."""
        if not self._thread.is_alive():
            return False
        self._progress.wait(timeout_s)
        self._progress.clear()
        self.watch()
        return True

    def stop(self) -> None:
        """End the conversation and the thread; a collector that listens gets the last health first."""
        self._stopping.set()
        conversation = self._conversation
        if conversation is not None and self._session.state is State.STREAMING:
            conversation.ending = True
            conversation.wake.set()
            self._thread.join(LEAVE_S)
        if conversation is not None:
            conversation.hang_up()
        if self._thread.is_alive():
            self._thread.join(JOIN_S)

    def _run(self) -> None:
        """Dial, talk, wait; until stopped."""
        while not self._stopping.is_set():
            self._converse()
            self._stopping.wait(self._session.delay_s(random.random()))  # noqa: S311  # spreads dials, keeps no secret
        with self._session_lock:
            self._session.closed(time.monotonic())

    def _converse(self) -> None:
        """Have one conversation, from dialling to whatever ends it."""
        conversation = _Conversation(self._target, self._spool.spool_id)
        with self._session_lock:
            self._session.dialled(conversation.spool_id, time.monotonic())
        self._conversation = conversation
        if self._stopping.is_set():  # stop() may have looked a moment too early to see this conversation
            conversation.hang_up()
        refusal, trouble = None, "the collector closed the stream"
        try:
            self._listen(conversation)
        except (Refused, ConfigError) as exc:
            refusal = trouble = str(exc)
        except (CollectorError, StateError) as exc:
            trouble = str(exc)
        finally:
            conversation.hang_up()
        self._refusal = refusal
        with self._session_lock:
            self._session.broken(time.monotonic())
        self._say(conversation.trouble or trouble)

    def _listen(self, conversation: _Conversation) -> None:
        """Take in what the collector says."""
        for message in conversation.line.talk(self._messages(conversation)):
            kind = message.WhichOneof("message")
            if kind == "welcome":
                self._welcomed(message.welcome, conversation)
            elif kind == "ack":
                self._acked(message.ack, conversation)
            else:
                self._steered(message)
            conversation.wake.set()
            self._progress.set()

    def _welcomed(self, welcome: ingest_pb2.Welcome, conversation: _Conversation) -> None:
        through = {Lane.FINDINGS: welcome.findings_through, Lane.EVENTS: welcome.events_through}
        with self._session_lock:
            self._session.welcomed(through, time.monotonic())
            for lane, sequence in through.items():
                count = self._spool.resume(lane, sequence, conversation.spool_id)
                self._counters.add(f"deliver.acked_{lane.label}", count)
        self._refusal = None
        self._pace.set(0)  # until it says otherwise
        if welcome.HasField("at_ns"):
            self.clock_offset_ms = (welcome.at_ns - time.time_ns()) // 1_000_000
        self._say(None)
        if welcome.HasField("certificate_not_after_s"):
            self._note_end(welcome.certificate_not_after_s)

    def _steered(self, message: ingest_pb2.CollectorMessage) -> None:
        """Take in what the collector wants of us; of what we do not know it may speak, too."""
        with self._session_lock:
            self._session.steered(time.monotonic())
        match message.WhichOneof("message"):
            case "list_part":
                self._inbox.part(message.list_part)
            case "policy":
                self._inbox.policy(message.policy)
            case "pace":
                self._pace.set(message.pace.bytes_per_s)
                self._counters.set("deliver.pace_bytes_per_s", message.pace.bytes_per_s)
            case _:
                self._counters.add("deliver.unknown_messages")

    def _note_end(self, not_after_s: int) -> None:
        """Have health say when our certificate ends, as the collector reads it; and the log, when that is soon."""
        self._counters.set("deliver.certificate_not_after_s", max(0, not_after_s))
        left_days = (not_after_s - time.time_ns() / 1e9) / 86_400
        if left_days < SOON_DAYS and not self._target.renews:
            log.warning("collector %s: our certificate ends in %.1f days", self._target.address, left_days)

    def _acked(self, ack: ingest_pb2.Ack, conversation: _Conversation) -> None:
        if ack.lane not in {lane.value for lane in Lane}:
            raise CollectorError(f"the collector acknowledged lane {ack.lane}, which there is not")
        lane = Lane(ack.lane)
        with self._session_lock:
            self._session.acked(lane, ack.through, time.monotonic())
        count = self._spool.acked(lane, ack.through, conversation.spool_id)
        self._counters.add(f"deliver.acked_{lane.label}", count)

    def _messages(self, conversation: _Conversation) -> Iterator[ingest_pb2.AgentMessage]:
        """Yield what to send, for as long as the conversation lasts; called by gRPC's thread."""
        yield ingest_pb2.AgentMessage.FromString(self._hello(conversation.spool_id))
        while not conversation.over:
            message = self._next_message(conversation)
            if message is not None:
                yield message
                continue
            if conversation.ending:
                return
            conversation.wake.wait(min(IDLE_S, self._pace.wait_s(time.monotonic()) or IDLE_S))
            conversation.wake.clear()
            self.watch()

    def _next_message(self, conversation: _Conversation) -> ingest_pb2.AgentMessage | None:
        """Return the next finding, else health that is new, else the next events."""
        with self._session_lock:
            if conversation.over or self._session.state is not State.STREAMING:
                return None
            room = dict(self._session.room())
            message = self._next_of(Lane.FINDINGS, room) or self._next_health(conversation)
            if message is None and self._pace.wait_s(time.monotonic()) <= 0:
                message = self._next_of(Lane.EVENTS, room)
        if self._spool.spool_id != conversation.spool_id:
            conversation.hang_up("the spool was replaced")  # what was found may be of the new one
            return None
        return message

    def _next_of(self, lane: Lane, room: dict[Lane, int]) -> ingest_pb2.AgentMessage | None:
        """Return what a lane sends next, and note that it was sent."""
        piece = self._spool.following(lane, room[lane]) if lane in room else None
        if piece is None:
            return None
        try:
            message = message_of(piece)
        except UnreadableRow as exc:
            log.error("spool: %s", exc)  # noqa: TRY400  # one line for the operator; where it was raised says nothing
            piece = self._spool.discard(Row(*piece))
            message = message_of(piece)
        again = self._session.sent(piece, time.monotonic())
        if isinstance(piece, Row):
            if lane is Lane.EVENTS:
                self._pace.sent(len(piece.payload), time.monotonic())
            self._counters.add(f"deliver.{'resent' if again else 'sent'}_{lane.label}", piece.items)
        return message

    def _next_health(self, conversation: _Conversation) -> ingest_pb2.AgentMessage | None:
        health = self._health
        if health is None or health is conversation.health:
            return None
        conversation.health = health
        return ingest_pb2.AgentMessage.FromString(health)

    def _say(self, trouble: str | None) -> None:
        """Log a change of fortune once."""
        if trouble == self._said or self._stopping.is_set():
            return
        self._said = trouble
        if trouble is None:
            log.info("collector %s: connected", self._target.address)
        else:
            log.warning("collector %s: %s", self._target.address, trouble)
