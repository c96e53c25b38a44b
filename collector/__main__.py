"""`python -m collector --config FILE`: one collector in the foreground."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from collector import config
from collector import server
from collector.errors import CollectorFault

EXIT_USAGE = 2  # a wrong option, a busy port, an unreadable configuration: as argparse exits


def main(arguments: list[str] | None = None) -> int:
    """Run until told to stop; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m collector", description="Keep what Vedette agents send.")
    parser.add_argument("--config", type=Path, required=True, help="TOML file, see docs/configuration.md")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    try:
        server.run(config.load(options.config))
    except CollectorFault as exc:
        sys.stderr.write(f"error: {exc}\n")
        return EXIT_USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
