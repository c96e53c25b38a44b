"""Where this host is: what EC2, ECS and Kubernetes tell of it, asked beside the path of events by threads of their own.

Whoever is asked may be slow, dead, huge or lying: each request has a deadline and a limit of bytes, each answer is
decoded strictly and cut to size, and what does not come costs a finding nothing but that part of its resource.
"""

from __future__ import annotations
