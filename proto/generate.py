"""Make `_proto/vedette/v1` from the .proto files: messages, gRPC stubs and their types.

Run by setup.py at every install and build, and by `make proto`.  Nothing is done when the generated code is
newer than what it is made from, so that a source tree with it builds without the compiler.  Files are put in
place one by one with a rename: a process that imports them meanwhile sees the old or the new, never half.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "_proto"
PACKAGE = Path("vedette", "v1")


def is_fresh(sources: list[Path], stamp: Path) -> bool:
    """Return whether `stamp`, written last, is newer than every source and than this program."""
    if not stamp.exists():
        return False
    made = stamp.stat().st_mtime_ns
    return all(source.stat().st_mtime_ns < made for source in [*sources, Path(__file__)])


def compile_into(directory: Path, sources: list[Path]) -> None:
    """Run the compiler; raises SystemExit with what is missing or wrong."""
    try:
        from grpc_tools import protoc  # noqa: PLC0415 - not needed where the code is fresh
    except ImportError:
        sys.exit("generate.py: grpcio-tools is not installed for this Python: pip install grpcio-tools")
    kinds = [f"--{kind}_out={directory}" for kind in ("python", "grpc_python", "pyi")]
    if protoc.main(["protoc", f"-I{HERE}", *kinds, *map(str, sources)]) != 0:
        sys.exit("generate.py: the protobuf compiler refused the files named above")


def put(made: Path, target: Path) -> None:
    """Move every generated file to its place, and forget those whose source is gone."""
    names = {path.name for path in made.iterdir()}
    target.mkdir(parents=True, exist_ok=True)
    for path in made.iterdir():
        path.replace(target / path.name)
    for old in target.glob("*_pb2*.py*"):
        if old.name not in names:
            old.unlink()


def main() -> None:
    """Generate when something changed."""
    sources = sorted((HERE / PACKAGE).glob("*.proto"))
    target = TARGET / PACKAGE
    stamp = target / "__init__.py"
    if is_fresh(sources, stamp):
        return
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=TARGET) as scratch:
        compile_into(Path(scratch), sources)
        put(Path(scratch, PACKAGE), target)
    (TARGET / "vedette" / "__init__.py").write_text('"""Generated code; see proto/."""\n', encoding="utf-8")
    stamp.write_text('"""The wire, version 1: messages and services; see proto/vedette/v1/."""\n', encoding="utf-8")


if __name__ == "__main__":
    main()
