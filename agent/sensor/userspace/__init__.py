"""The source without eBPF: for Fargate, and every host that refuses it.

Kept without imports: its children load this package too.
"""
