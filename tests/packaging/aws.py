"""AWS as far as it can be had here: botocore's own models, and moto's server on loopback."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import botocore.session
from botocore.config import Config
from botocore.validate import ParamValidator
from moto.server import ThreadedMotoServer

REGION = "eu-west-1"
_HEAD = re.compile(r"(^|[-_ ])(\w)")


def complaints(service: str, operation: str, request: dict[str, Any]) -> str:
    """Return what botocore's model of an operation has against a request; nothing when it is well.

    A key that the model does not know is an error to it as well.
    """
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    return str(ParamValidator().validate(request, shape).generate_report())


@contextmanager
def moto() -> Iterator[Any]:
    """Return a function from the name of a service to a client of moto's server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    session = botocore.session.get_session()
    session.set_credentials("testing", "testing")
    quick = Config(retries={"total_max_attempts": 1})
    try:
        yield lambda service: session.create_client(
            service, region_name=REGION, endpoint_url=f"http://{host}:{port}", config=quick
        )
    finally:
        server.stop()


def lint(*templates: Path) -> str:
    """Return what cfn-lint has against templates, warnings too."""
    program = str(Path(sys.executable).with_name("cfn-lint"))
    line = [program, "--region", REGION, "--non-zero-exit-code", "informational", "--"]
    done = subprocess.run([*line, *map(str, templates)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def document(path: Path) -> dict[str, Any]:
    """Return what is in a JSON file."""
    return dict(json.loads(path.read_text(encoding="utf-8")))
