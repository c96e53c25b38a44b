"""How an agent comes by a certificate: it joins once, and renews before the end.

What costs memory (keys, certificates, another connection) is done by a child
that exits, `python -m agent.enrol`; the agent keeps a thread that starts it, and
the files:

    identity/current          a link to the directory in use, replaced whole
    identity/N/agent.key      and agent.pem, ca.pem; identity.json says whose they are
    identity/pending-*.key    a key that was asked for, until the certificate is here
    identity/status.json      how the last attempt went, for `vedette doctor`
"""
