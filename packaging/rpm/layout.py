"""Divide what is in site-packages between the two packages, and compile it when this machine has the interpreter.

    layout.py ROOT SITE PYTHON NAMES compiled|bare

ROOT is the future /, SITE the path of site-packages below it, PYTHON a version, and
NAMES a file with the distributions of the agent's package, one a line.  Beside ROOT
are written `agent.files` and `collector.files`, as %files of the spec takes them.
Nothing is compiled when it is to be `bare`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path


def main(root: Path, site: str, python: str, names: Path, *, compiles: bool) -> None:
    """Write the two lists; compiled code is checked by hash, never by time, so that a build can be repeated."""
    where = root / site
    agents = {_normal(name) for name in names.read_text().split()} | {"vedette"}
    tops: dict[str, set[str]] = {"agent": set(), "collector": set()}
    for info in where.glob("*.dist-info"):
        distribution = Distribution.at(info)
        package = "agent" if _normal(distribution.name) in agents else "collector"
        tops[package] |= {Path(str(file)).parts[0] for file in distribution.files or ()} - {"..", "bin"}
        for left in ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json"):  # say where and how it was installed
            (info / left).unlink(missing_ok=True)
    for tests in [*where.rglob("tests"), *where.glob("pyarrow/include")]:  # 30 MiB that nobody runs
        shutil.rmtree(tests, ignore_errors=True)
    interpreter = Path(f"/usr/bin/python{python}")
    compiles = compiles and interpreter.exists()
    if compiles:
        compiling = (
            "-m",
            "compileall",
            "-q",
            "-j0",
            "--invalidation-mode",
            "unchecked-hash",
            "-s",
            root,
            "-p",
            "/",
            where,
        )
        subprocess.run((interpreter, *compiling), check=True)
    tops["collector"] -= tops["agent"]
    for found in tops.values():
        found |= {f"__pycache__/{name[:-3]}.*.pyc" for name in found if name.endswith(".py") and compiles}
    for package, found in tops.items():
        lines = sorted(f"/{site}/{top}" for top in found if any(where.glob(top)))
        (root.parent / f"{package}.files").write_text("\n".join(lines) + "\n")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]), compiles=sys.argv[5] == "compiled")
