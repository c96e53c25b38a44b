"""The version of this agent; the distribution takes it from here.

Asking the installed metadata instead would cost 4 MB of the agent's 64.
"""

from __future__ import annotations

VERSION = "0.1.0"
