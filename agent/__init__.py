"""Vedette's agent.  Kept without imports: the loader child loads this package under another Python."""
