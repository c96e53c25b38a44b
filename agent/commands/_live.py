"""The live view of `vedette run` on a terminal: where things stand, and findings, newest first.

Drawn on the alternate screen, so that the terminal is afterwards as it was;
then the findings stand there once more, as lines.

Text of findings reaches the screen as `rich.text.Text` of escaped strings, never
as markup: a file named `[red]` stays one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any

from rich.console import Console
from rich.console import Group
from rich.console import RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from agent.commands import _shown
from agent.commands._tally import Tally
from agent.commands._views import lost
from agent.model import Host
from agent.terminal import cut
from agent.terminal import escape

KEPT_FINDINGS = 200  # more than any screen shows
KEPT_LINES = 200
SHOWN_LINES = 3
_STYLES = {"CRITICAL": "bold white on red", "HIGH": "bold red", "MEDIUM": "yellow", "LOW": "cyan"}
_MIB = 1024 * 1024


class LiveView:
    """Redraws the screen as things change; see `_views.View`."""

    def __init__(self, host: Host, probes: int, console: Console | None = None) -> None:
        self._host = host
        self._probes = probes
        self._console = console or Console()
        self._started_s = time.monotonic()
        self._findings: deque[_shown.ShownFinding] = deque(maxlen=KEPT_FINDINGS)
        self._count = 0
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()
        self._tally: Tally | None = None
        self._live = Live(console=self._console, screen=True, auto_refresh=False, redirect_stdout=False)
        self._live.start()

    def said(self, line: str) -> None:
        """Show a line at the bottom."""
        with self._lock:
            self._lines.append(escape(line))

    def found(self, document: dict[str, Any]) -> None:
        """Show a finding at the top."""
        self._findings.appendleft(_shown.finding(document))
        self._count += 1

    def stands(self, tally: Tally) -> None:
        """Show where things stand."""
        self._tally = tally

    def refresh(self) -> None:
        """Draw."""
        self._live.update(self.drawn(), refresh=True)

    def close(self) -> None:
        """Leave the alternate screen, then write what was found and what was said last."""
        self._live.stop()
        for shown in reversed(self._findings):
            self._console.print(Text(_shown.finding_line(shown)))
        with self._lock:
            for line in list(self._lines)[-SHOWN_LINES:]:
                self._console.print(Text(line, style="dim"))

    def drawn(self) -> Group:
        """Return the whole screen."""
        columns, rows = self._console.size
        head: list[RenderableType] = [self._title(columns), *self._standing(columns), Rule(style="dim")]
        with self._lock:
            said = [Text(cut(line, columns), style="dim") for line in list(self._lines)[-SHOWN_LINES:]]
        foot: list[RenderableType] = [Rule(style="dim"), *said]
        room = rows - len(head) - len(foot) - 1
        body = self._body(columns, room)
        return Group(*head, *body, *(Text("") for _ in range(room - len(body))), *foot)

    def _title(self, columns: int) -> Text:
        elapsed = int(time.monotonic() - self._started_s)
        since = f"{elapsed // 3600}:{elapsed // 60 % 60:02d}:{elapsed % 60:02d}"
        host = cut(f"{self._host.name}  {self._host.kernel}", columns - len(since) - 11)
        title = Text("Vedette", style="bold")
        title.append(f"  {host}", style="default")
        title.pad_right(max(columns - title.cell_len - len(since), 1))
        return title.append(since, style="dim")

    def _standing(self, columns: int) -> list[Text]:
        tally = self._tally
        if tally is None or not tally.connected:
            return [Text("waiting for the agent", style="yellow")]
        whole = tally.attached == self._probes
        line = Text()
        line.append(f"{tally.attached} of {self._probes} probes", style="green" if whole else "bold yellow")
        line.append(f"   {tally.events_per_s:,.0f} events/s   {self._count:,} findings")
        line.append(f"   agent {tally.resident_bytes / _MIB:.0f} MB")
        line.append(f"   lost: {lost(tally.losses)}", style="bold red" if tally.losses else "green")
        line.truncate(columns, overflow="ellipsis")
        seen = "   ".join(f"{kind} {count:,}" for kind, count in tally.seen.items() if count)
        return [line, Text(cut(f"seen: {seen or 'nothing yet'}", columns), style="dim")]

    def _body(self, columns: int, room: int) -> list[Text]:
        if not self._findings:
            return [Text("no findings so far", style="dim")]
        lines: list[Text] = []
        for shown in self._findings:
            block = [
                self._styled(shown, line, first=not index) for index, line in enumerate(self._block(shown, columns))
            ]
            if len(lines) + len(block) > room:
                break
            lines += [*block, Text("")]
        return lines[:room]

    def _block(self, shown: _shown.ShownFinding, columns: int) -> tuple[str, ...]:
        return _shown.finding_block(shown, columns)

    def _styled(self, shown: _shown.ShownFinding, line: str, *, first: bool) -> Text:
        if not first:
            return Text(line)
        text = Text(line)
        text.stylize("dim", 0, 8)
        text.stylize(_STYLES.get(shown.severity, "bold"), 10, 10 + len(shown.severity))
        text.stylize("bold", 10 + len(shown.severity))
        return text
