"""The command line: argv → settings → calls → exit code; the only package that prints."""

from __future__ import annotations

import io
import sys


def run() -> None:
    """Entry point of the ``vidrestore`` command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that the console cannot show
    try:
        from vidrestore.cli.app import main

        code = main()
    except KeyboardInterrupt:  # before the commands are loaded
        code = 130
    sys.exit(code)
