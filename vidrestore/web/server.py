"""Serves the page: puts its parts together, listens, and ends all that it has started."""

from __future__ import annotations

import logging
import os
import re
import socket
import webbrowser
from collections.abc import Callable
from pathlib import Path

import gradio as gr
import uvicorn
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.responses import FileResponse, PlainTextResponse, Response

from vidrestore.errors import SettingsError
from vidrestore.web.film_tab import FilmTab
from vidrestore.web.jobs import JobManager
from vidrestore.web.photo_tab import PhotoTab
from vidrestore.web.security import Access, Guard
from vidrestore.web.shelf import Shelf

logger = logging.getLogger(__name__)

DEFAULT_PORT = 7860
_NUM_PORTS = 20
"""How many ports are tried if none was asked for."""
_SWEEP_SECONDS = 600.0
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")


def parse_size(text: str) -> int:
    """Read a number of bytes such as ``500MB`` or ``4G``.

    Raises:
        SettingsError: It is none.

    >>> parse_size("1.5 GB")
    1500000000
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", text, re.IGNORECASE)
    if match is None or not float(match[1]):
        raise SettingsError(f"cannot read '{text}' as a size: write it like 500MB or 4GB")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def build_page(shelf: Shelf, manager: JobManager) -> gr.Blocks:
    """Return the page, not yet served."""
    page = gr.Blocks(title="vidrestore", analytics_enabled=False, delete_cache=(3600, 86400))
    with page:
        gr.Markdown("# Restore the faces in old films and photos")
        with gr.Tabs():
            with gr.Tab("Film", id="film"):
                film = FilmTab(shelf, manager)
            with gr.Tab("Photo", id="photo"):
                photo = PhotoTab(shelf, manager)
        film.wire(page)
        photo.wire(page)
        sweep = gr.Timer(_SWEEP_SECONDS)
        sweep.tick(lambda: sweep_away(shelf, manager), show_progress="hidden")
    return page


def sweep_away(shelf: Shelf, manager: JobManager) -> None:
    """Delete what nobody has looked at, and nothing was at work on, for a day."""
    for item in shelf.stale():
        if manager.is_busy_for(item.token):
            shelf.find(item.token)  # its day begins anew: who comes for the result shall find it
            continue
        manager.forget(item.token)
        shelf.remove(item)


def build_app(
    shelf: Shelf, manager: JobManager, access: Access, most_bytes: int | None = None
) -> FastAPI:
    """Return the application: the page, the files it hands out, and the guard before both.

    Args:
        shelf: Where things are kept.
        manager: Runs the jobs.
        access: Whom to let in.
        most_bytes: Largest upload; None: no limit but the disk.
    """
    os.environ["GRADIO_TEMP_DIR"] = str(shelf.incoming)
    guard = Middleware(Guard, access=access, most_bytes=most_bytes, room_bytes=shelf.room_bytes)
    app = FastAPI(middleware=[guard], openapi_url=None)

    def results(key: str, name: str, download: str | None = None) -> Response:
        return _result(manager, key, name, is_saved=download is not None)

    app.add_api_route("/results/{key}/{name}", results, methods=["GET", "HEAD"])
    gr.mount_gradio_app(
        app,
        build_page(shelf, manager),
        path="/",
        footer_links=[],
        run_history=False,
        ssr_mode=False,
        max_file_size=most_bytes,
        theme=gr.themes.Default(text_size="lg"),
        css=_STYLE,
    )
    return app


def _result(manager: JobManager, key: str, name: str, *, is_saved: bool) -> Response:
    """Hand out a file that a job has made: what it has named itself, and nothing else."""
    job = manager.find(key)
    path = job.outcome.files.get(name) if job is not None and job.outcome is not None else None
    if path is None or not path.is_file():
        return PlainTextResponse("there is no such file", status_code=404)
    return FileResponse(
        path,
        filename=name,
        content_disposition_type="attachment" if is_saved else "inline",
        headers={"cache-control": "private, no-store"},
    )


def listen(host: str, port: int | None) -> socket.socket:
    """Open the socket.

    Args:
        host: Address to listen on.
        port: None tries some from ``DEFAULT_PORT`` on.

    Raises:
        SettingsError: It cannot be had.
    """
    if port is not None and not 0 <= port < 1 << 16:
        raise SettingsError(f"the port is {port}: use 1 to 65535")
    ports = range(DEFAULT_PORT, DEFAULT_PORT + _NUM_PORTS) if port is None else (port,)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for candidate in ports:
        try:
            return socket.create_server((host, candidate), family=family)
        except OSError as error:
            reason = error.strerror or str(error)
    raise SettingsError(f"cannot listen on {host}, port {candidate}: {reason}; try another --port")


def serve(
    access: Access,
    *,
    port: int | None = None,
    root: Path | None = None,
    most_bytes: int | None = None,
    opens_browser: bool = True,
    on_ready: Callable[[str], None] | None = None,
) -> None:
    """Serve the page until the process is asked to end.

    Args:
        access: Where to listen and whom to let in.
        port: None takes a free one.
        root: Folder of films that may be named on the page.
        most_bytes: Largest upload; None: no limit but the disk.
        opens_browser: Open the page in this machine's browser.
        on_ready: Called with the page's address.

    Raises:
        SettingsError: The port cannot be had, or the root is no folder.
    """
    if root is not None and not root.is_dir():
        raise SettingsError(f"--root {root} is not a folder")
    with listen(access.host, port) as listener, Shelf(root) as shelf, JobManager() as manager:
        app = build_app(shelf, manager, access, most_bytes)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, timeout_graceful_shutdown=2, ws="none"
        )
        host = "127.0.0.1" if access.host in ("0.0.0.0", "::") else access.host
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
        if on_ready is not None:
            on_ready(address)
        if opens_browser:
            webbrowser.open(address)  # the socket listens already: it waits for the server
        uvicorn.Server(config).run(sockets=[listener])
