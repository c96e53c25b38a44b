"""Stage 1: the host becomes records.  Kept without imports: the loader child loads this package too."""
