"""The source on eBPF.  Kept without imports: the loader child loads this package too."""
