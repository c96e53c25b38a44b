"""Make the package of SSM Distributor: a zip for each kind of host, and manifest.json with their hashes.

    package.py --version 0.1.0 --out dist/ssm PACKAGE...

PACKAGE is an RPM of the agent as make rpm writes it, NAME.pyNNN.ARCH.rpm.  Which Linux
gets which is told by its Python: the table below.  Two runs give the same bytes.

The manifest is as "Create a Distributor package" in AWS's documentation has it,
schema version 2.0; a platform's name is what SSM Agent says of itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

SCRIPTS = ("install.sh", "update.sh", "uninstall.sh", "vedette-install.sh")
HERE = Path(__file__).resolve().parent
PLATFORMS = {
    "py311": {"amazon": ["2023*"]},
    "py312": {"redhat": ["10*"], "rocky": ["10*"], "almalinux": ["10*"]},
}
ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
NAME = re.compile(r"vedette-\d.*\.(?P<python>py3\d+)\.(?P<architecture>[a-z0-9_]+)\.rpm")
LONG_AGO = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    """Write both; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", required=True)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("packages", nargs="+", type=Path)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    files: dict[str, dict[str, object]] = {}
    platforms: dict[str, dict[str, dict[str, dict[str, str]]]] = {}
    for package in asked.packages:
        kind, architecture = told_by(package)
        zipped = f"vedette-{kind}-{architecture}.zip"
        content = archive(asked.out / zipped, package)
        files[zipped] = {"checksums": {"sha256": hashlib.sha256(content).hexdigest()}, "size": len(content)}
        for platform, versions in PLATFORMS[kind].items():
            for version in versions:
                platforms.setdefault(platform, {}).setdefault(version, {})[architecture] = {"file": zipped}
    manifest = {
        "schemaVersion": "2.0",
        "publisher": "Vedette",
        "version": asked.version,
        "packages": platforms,
        "files": files,
    }
    (asked.out / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return 0


def told_by(package: Path) -> tuple[str, str]:
    """Return for which Python a package is, and the architecture as SSM says it."""
    found = NAME.fullmatch(package.name)
    if found is None or found["python"] not in PLATFORMS or found["architecture"] not in ARCHITECTURES:
        sys.exit(f"package.py: {package.name}: no kind of host is known that takes it")
    return found["python"], ARCHITECTURES[found["architecture"]]


def archive(path: Path, package: Path) -> bytes:
    """Write the zip of scripts and a package; return its bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as made:
        for file in (*(HERE / name for name in SCRIPTS), package):
            entry = zipfile.ZipInfo(file.name, LONG_AGO)
            entry.external_attr = (0o755 if file.suffix == ".sh" else 0o644) << 16
            made.writestr(entry, file.read_bytes())
    return path.read_bytes()


if __name__ == "__main__":
    sys.exit(main())
