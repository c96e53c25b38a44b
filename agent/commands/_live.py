"""The live view of `vedette run` on a terminal: where things stand, and findings, newest first.

Drawn on the alternate screen, so that the terminal is afterwards as it was;
then the findings stand there once more, as lines.

Text of findings reaches the screen as `rich.text.Text` of escaped strings, never
as markup: a file named `[red]` stays one.
"""

from __future__ import annotations

import re
import textwrap
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
from agent.commands._views import in_part
from agent.commands._views import lost
from agent.model import Host
from agent.terminal import cut
from agent.terminal import escape

KEPT_FINDINGS = 200  # more than any screen shows
KEPT_LINES = 200
SHOWN_LINES = 3
COUNT_LINES = 2
REMARKS = 2  # probes of which something is said: mostly one is as good as all, and the findings need the room
_STYLES = {"CRITICAL": "bold white on red", "HIGH": "bold red", "MEDIUM": "yellow", "LOW": "cyan"}
_CLOCK_COLUMNS = 8
_SEVERITY_COLUMN = 10
_MIB = 1024 * 1024
_LOG_DATE = re.compile(r"\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)\S* ")  # of which the clock is enough on a screen


class LiveView:
    """Redraws the screen as things change; see `_views.View`."""

    def __init__(self, host: Host, probes: int, console: Console | None = None) -> None:
        self._host = host
        self._probes = probes
        self._console = console or Console(highlight=False)
        self._started_s = time.monotonic()
        self._findings: dict[str, _shown.ShownFinding] = {}
        """By id, last seen last: one that is seen again moves there."""
        self._lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._lock = threading.Lock()
        self._tally: Tally | None = None
        self._live = Live(console=self._console, screen=True, auto_refresh=False, redirect_stdout=False)
        self._live.start()

    def said(self, line: str) -> None:
        """Show a line at the bottom."""
        with self._lock:
            self._lines.append(escape(_LOG_DATE.sub(r"\1 ", line)))

    def found(self, document: dict[str, Any]) -> None:
        """Show a finding at the top."""
        name = str(document.get("id"))
        self._findings.pop(name, None)
        self._findings[name] = _shown.finding(document)
        if len(self._findings) > KEPT_FINDINGS:
            del self._findings[next(iter(self._findings))]

    def stands(self, tally: Tally) -> None:
        """Show where things stand."""
        self._tally = tally

    def refresh(self) -> None:
        """Draw."""
        self._live.update(self.drawn(), refresh=True)

    def close(self) -> None:
        """Leave the alternate screen, then write what was found and what was said last."""
        self._live.stop()
        for shown in self._findings.values():
            self._console.print(*self._block(shown, self._console.width), sep="\n")
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
        room = max(rows - len(head) - len(foot), 0)
        body = self._body(columns, room)
        return Group(*head, *body, *(Text("") for _ in range(room - len(body))), *foot)

    def _title(self, columns: int) -> Text:
        elapsed = int(time.monotonic() - self._started_s)
        since = f"{elapsed // 3600}:{elapsed // 60 % 60:02d}:{elapsed % 60:02d}"
        title = Text("Vedette", style="bold")
        host = cut(f"  {self._host.name}  {self._host.kernel}", max(columns - title.cell_len - len(since) - 1, 1))
        title.append(host, style="not bold")
        title.pad_right(max(columns - title.cell_len - len(since), 1))
        return title.append(since, style="not bold dim")

    def _standing(self, columns: int) -> list[Text]:
        tally = self._tally
        if tally is None or not tally.connected:
            return [Text("waiting for the agent", style="yellow")]
        whole = tally.attached == self._probes
        line = Text()
        line.append(f"{tally.attached} of {self._probes} probes", style="green" if whole else "bold yellow")
        line.append(f"   {tally.events_per_s:,.0f} events/s   {len(self._findings):,} findings")
        line.append(f"   agent {tally.resident_bytes / _MIB:.0f} MB")
        losses = f"lost: {lost(tally)}"
        if not tally.losses:
            line.append(f"   {losses}", style="green")
        line.truncate(columns, overflow="ellipsis")
        alarm = [Text(one, style="bold red") for one in _wrapped(escape(losses), columns)] if tally.losses else []
        alarm += [Text(one, style="bold yellow") for one in self._remarked(tally, columns)]
        partly = in_part(tally)
        if partly:
            alarm += [Text(one, style="yellow") for one in _wrapped(escape(f"in part: {partly}"), columns)]
        seen = "   ".join(
            f"{escape(kind)} {count:,}".replace(" ", "\N{NO-BREAK SPACE}") for kind, count in tally.seen.items()
        )
        wrapped = _wrapped(f"seen: {seen or 'nothing yet'}", columns)
        return [line, *alarm, *(Text(one, style="dim") for one in wrapped)]

    def _remarked(self, tally: Tally, columns: int) -> list[str]:
        """Return what is to be said of probes, of as many as there is room for beside the findings."""
        shown = tally.remarks[:REMARKS]
        more = len(tally.remarks) - len(shown)
        lines = [line for remark in shown for line in _wrapped(escape(remark), columns)]
        return lines + ([f"and of {more} probes more: sudo vedette doctor"] if more else [])

    def _body(self, columns: int, room: int) -> list[Text]:
        """Return the findings that fit, newest first: the first ones whole, the older ones in a line each."""
        if not self._findings:
            return [Text("no findings so far", style="dim")][:room]
        newest = list(reversed(self._findings.values()))
        blocks = [[*self._block(shown, columns), Text("")] for shown in newest]
        whole = len(blocks)
        while whole > 1 and sum(map(len, blocks[:whole])) + len(blocks) - whole > room:
            whole -= 1
        lines = [line for block in blocks[:whole] for line in block]
        lines += [_styled(shown, _shown.finding_short(shown, columns)) for shown in newest[whole:]]
        return lines[:room]

    def _block(self, shown: _shown.ShownFinding, columns: int) -> list[Text]:
        first, *rest = _shown.finding_block(shown, columns)
        return [_styled(shown, first), *map(Text, rest)]


def _wrapped(text: str, columns: int) -> list[str]:
    """Return counts in words on a few lines."""
    return textwrap.wrap(text, columns, max_lines=COUNT_LINES, placeholder=" …")


def _styled(shown: _shown.ShownFinding, line: str) -> Text:
    """Return the first line of a finding with its severity in colour."""
    text = Text(line)
    text.stylize("dim", 0, _CLOCK_COLUMNS)
    text.stylize(_STYLES.get(shown.severity, "bold"), _SEVERITY_COLUMN, _SEVERITY_COLUMN + len(shown.severity))
    text.stylize("bold", _SEVERITY_COLUMN + len(shown.severity))
    return text
