"""The command line: argv → settings → calls → exit code; the only package that prints."""

from __future__ import annotations

import sys


def run() -> None:
    """Entry point of the ``vidrestore`` command."""
    from vidrestore.cli.app import main

    sys.exit(main())
