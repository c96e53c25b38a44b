"""Vedette's agent.  Kept without imports of weight: the loader child loads this package under another Python."""

from __future__ import annotations

import os

# gRPC has no setting for the least version of TLS. It takes the ciphers of TLS 1.2 from here, once, as it is imported,
# which is why it stands here; those of 1.3 are always there. This one needs a key that both ends were given beforehand,
# which ours are not: so 1.2 cannot come about, and a peer that can do no more is refused.
os.environ["GRPC_SSL_CIPHER_SUITES"] = "ECDHE-PSK-CHACHA20-POLY1305"
