"""Rules of the operator's own: `rules.d/*.toml`, read into tests of events, and read anew when a file changes.

What a file says is in docs/rules.md.  A finding of a rule is `Custom:Runtime/NAME`.
"""

from __future__ import annotations

from pathlib import Path

from agent.rules.current import CurrentRules
from agent.rules.current import is_custom

__all__ = ("RULES_DIRECTORY", "CurrentRules", "is_custom")

RULES_DIRECTORY = Path("/etc/vedette/rules.d")
"""Where they are when nobody says otherwise: beside the agent's configuration file as the packages have it."""
