"""Generate the protobuf code, then build what pyproject.toml describes.

The code is made before `setup()`, not by a build command: setuptools looks into the package directories while it
still collects metadata.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from setuptools import find_packages
from setuptools import setup

ROOT = Path(__file__).resolve().parent

subprocess.run([sys.executable, str(ROOT / "proto" / "generate.py")], check=True)
setup(packages=[*find_packages(include=["agent*", "collector*"]), "agent._ebpf", "vedette", "vedette.v1"])
