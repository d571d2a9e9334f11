"""The command that serves the page in the browser."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from vidrestore.cli.console import say, talking
from vidrestore.cli.options import TalkOptions
from vidrestore.errors import SettingsError


def web(
    *,
    port: Annotated[
        int | None, Parameter(help="Port to listen on; without it a free one from 7860 on.")
    ] = None,
    browser: Annotated[
        bool, Parameter(show_default=False, help="Open the page in the browser (default).")
    ] = True,
    root: Annotated[
        Path | None, Parameter(help="Folder of films that may be chosen without uploading them.")
    ] = None,
    host: Annotated[
        str, Parameter(help="Address to listen on; any but this machine's own needs --auth.")
    ] = "127.0.0.1",
    auth: Annotated[str | None, Parameter(help="USER:PASSWORD that the browser asks for.")] = None,
    max_upload: Annotated[
        str | None, Parameter(help="Largest file that may be uploaded, such as 4GB.")
    ] = None,
    talk: TalkOptions | None = None,
) -> int:
    """Restore films and photos on a page in the browser."""
    if importlib.util.find_spec("gradio") is None:
        raise SettingsError("the page needs more packages: run pip install 'vidrestore[web]'")
    # read when Gradio is imported: nothing is sent to, or asked of, any other machine
    os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_OFFLINE": "1"}
    from vidrestore.web.security import Access
    from vidrestore.web.server import parse_size, serve

    access = Access(host, auth)
    most_bytes = None if max_upload is None else parse_size(max_upload)
    with talking(talk or TalkOptions()):
        try:
            serve(
                access,
                port=port,
                root=root,
                most_bytes=most_bytes,
                opens_browser=browser,
                on_ready=lambda address: say(f"open {address} in your browser; Ctrl-C ends it"),
            )
        except KeyboardInterrupt:
            say("ended")
    return 0
