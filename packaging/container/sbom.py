"""Say what is in an image, as CycloneDX: Python's packages, as cyclonedx-py told them, and Debian's.

    sbom.py VERSION ARCHITECTURE PYTHON.json LAYER...

LAYER is a folder with /var/lib/dpkg/status.d.  Written to standard output, in an order
that is always the same; without time and serial number, so that a build can be repeated.
"""

from __future__ import annotations

import email
import json
import sys
import urllib.parse
from pathlib import Path
from typing import Any


def main(version: str, architecture: str, python: Path, layers: list[Path]) -> None:
    """Print the document."""
    document = json.loads(python.read_text(encoding="utf-8"))
    document["metadata"]["component"] = {
        "type": "container",
        "bom-ref": "image",
        "name": "vedette",
        "version": version,
    }
    ours = {"type": "application", "bom-ref": "vedette", "name": "vedette", "version": version}
    files = [file for layer in layers for file in (layer / "var/lib/dpkg/status.d").glob("*")]
    debian = {found["bom-ref"]: found for found in (_package(file, architecture) for file in files)}
    document["components"] = [ours, *document.get("components", []), *(debian[ref] for ref in sorted(debian))]
    document.pop("dependencies", None)
    document.pop("serialNumber", None)
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")


def _package(file: Path, architecture: str) -> dict[str, Any]:
    fields = email.message_from_string(file.read_text(encoding="utf-8"))
    version = urllib.parse.quote(str(fields["Version"]), safe="")
    purl = f"pkg:deb/debian/{urllib.parse.quote(file.name)}@{version}?arch={architecture}&distro=debian-12"
    return {"type": "library", "bom-ref": purl, "name": file.name, "version": str(fields["Version"]), "purl": purl}


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), [Path(each) for each in sys.argv[4:]])
