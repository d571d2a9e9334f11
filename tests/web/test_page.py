"""The page as it is served: asked for by hand, and driven in a real browser."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import av
import pytest

from tests.conftest import REPOSITORY, skip_or_fail
from tests.support.facts import times

NUM_FRAMES = 40
LIMIT = 3_000_000
PATIENCE_MS = 120_000
SAMPLE = REPOSITORY / "samples" / "home-video.mp4"


@dataclass(frozen=True)
class Served:
    address: str
    work: Path
    """Folder for temporary files: the server's own is in it."""
    pid: int


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The beginning of the sample."""
    path = tmp_path_factory.mktemp("films") / "birthday party.mp4"
    with av.open(str(SAMPLE)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", 25, options={"preset": "ultrafast", "crf": "16"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuv420p"
        for frame, _ in zip(source.decode(video=0), range(NUM_FRAMES), strict=False):
            frame.pict_type = av.video.frame.PictureType.NONE
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    work = tmp_path_factory.mktemp("work")
    words = ["web", "--no-browser", "--port", "0", "--max-upload", f"{LIMIT // 1000}KB"]
    with (work / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "vidrestore", *words],
            env=os.environ | {"TMPDIR": str(work), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, line + (work / "stderr").read_text()
        yield Served(found[0], work, process.pid)
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
    assert process.wait(30) == 0
    assert "ended" in rest
    assert "Traceback" not in (work / "stderr").read_text()
    assert not list(work.glob("vidrestore-web-*"))


def ask(
    served: Served, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Send a request whose path nobody tidies up on the way."""
    connection = http.client.HTTPConnection(urlsplit(served.address).netloc, timeout=60)
    try:
        connection.request(method, path, body or None, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def upload(served: Served, name: str, content: bytes) -> tuple[int, bytes]:
    head = f'--x\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    kind = {"content-type": "multipart/form-data; boundary=x"}
    body = head.encode() + content + b"\r\n--x--\r\n"
    return ask(served, "POST", "/gradio_api/upload", body, kind)


def test_the_page_asks_for_nothing_from_elsewhere(served: Served) -> None:
    status, body = ask(served, "GET", "/")
    assert status == 200
    assert b"vidrestore" in body
    assert b"fonts.googleapis" not in body


@pytest.mark.parametrize("prefix", ["/gradio_api/file=", "/file=", "/results/x/", "/results/"])
@pytest.mark.parametrize(
    "path",
    [
        "{secret}", "../../../../../../..{secret}", "%2e%2e/%2e%2e/%2e%2e/%2e%2e/%2e%2e{secret}",
        "..%2f..%2f..%2f..%2f..%2f..%2f..{secret}", "file://{secret}", "{project}/pyproject.toml",
        "/etc/passwd", "pyproject.toml", "{inside}",
    ],
)  # fmt: skip
def test_no_other_files_are_given_out(served: Served, prefix: str, path: str) -> None:
    secret = served.work / "secret.txt"
    secret.write_text("not for anybody")
    (own,) = served.work.glob("vidrestore-web-*")
    inside = own / "made" / "other.txt"
    inside.write_text("not for anybody")
    path = path.format(secret=secret, project=REPOSITORY, inside=inside)
    status, body = ask(served, "GET", prefix + path)
    assert b"not for anybody" not in body
    assert b"root:" not in body
    assert b"[project]" not in body
    assert status in (400, 403, 404) or b"<html" in body


def test_uploads_have_a_limit(served: Served) -> None:
    status, body = upload(served, "small.bin", bytes(LIMIT - 1000))
    assert status == 200
    status, body = upload(served, "large.bin", bytes(LIMIT + 200_000))
    assert status == 413
    assert b"at most 3 MB" in body


def test_names_of_uploads_lead_nowhere(served: Served) -> None:
    status, body = upload(served, "../../../outside.mp4", b"x")
    assert status == 200
    assert not list(served.work.glob("outside*"))
    assert b".." not in body


def test_other_pages_are_kept_out(served: Served) -> None:
    assert ask(served, "GET", "/", headers={"host": "evil.example"})[0] == 421
    foreign = {"origin": "http://evil.example"}
    assert ask(served, "POST", "/gradio_api/upload", b"x", foreign)[0] == 403
    assert ask(served, "GET", "/gradio_api/queue/data?session_hash=x", headers=foreign)[0] == 403


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    names = ("chromium", "chromium-browser", "google-chrome")
    program = os.environ.get("CHROMIUM_PATH") or next(filter(None, map(shutil.which, names)), None)
    if program is None:
        skip_or_fail("browser", "no Chromium found (install one or set CHROMIUM_PATH)")
    if find_spec("playwright") is None:
        skip_or_fail("browser", "playwright is not installed (pip install 'vidrestore[browser]')")
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Any]:
    """The page in a fresh browser profile; it must not ask anybody else for anything."""
    context = browser.new_context(accept_downloads=True, viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    outside: list[str] = []

    def own_only(route: Any) -> None:
        if route.request.url.startswith((served.address, "data:", "blob:")):
            route.continue_()
        else:
            outside.append(route.request.url)
            route.abort()

    context.route("**/*", own_only)
    page.goto(served.address)
    yield page
    context.close()
    assert outside == []


def bring(page: Any, path: Path) -> None:
    page.set_input_files("#film-upload input[type=file]", path)


def save(page: Any, to: Path) -> str:
    with page.expect_download() as waiting:
        page.click("#film-result a.take")
    waiting.value.save_as(to)
    return str(waiting.value.suggested_filename)


@pytest.mark.browser
def test_upload_preview_run_stop_run_save(page: Any, film: Path, tmp_path: Path) -> None:
    bring(page, film)
    facts = page.inner_text(".facts")
    assert "640 × 480, 25 a second" in facts
    assert "one, about" in facts
    page.click("#film-preview")
    page.wait_for_function("document.querySelector('#film-clip video')?.videoWidth > 0")
    assert page.evaluate("document.querySelector('#film-clip video').videoWidth") == 1280
    page.click("#film-run")
    page.wait_for_selector("#film-result progress")
    page.click("#film-stop")
    page.wait_for_selector("#film-result >> text=Stopped")
    page.click("#film-run")
    page.wait_for_selector("#film-result a.take")
    assert "Faces were restored in" in page.inner_text("#film-result")
    assert save(page, tmp_path / "saved.mp4") == "birthday party-restored.mp4"
    assert len(times(tmp_path / "saved.mp4")) == NUM_FRAMES


@pytest.mark.browser
def test_a_run_goes_on_when_the_page_is_loaded_again(
    page: Any, served: Served, film: Path, tmp_path: Path
) -> None:
    bring(page, film)
    page.click("#film-run")
    page.wait_for_selector("#film-result progress")
    page.reload()
    page.wait_for_selector("#film-stop")
    page.wait_for_selector("#film-facts >> text=birthday party.mp4")
    context = page.context
    page.close()
    page = context.new_page()  # somebody closes the tab, and comes back
    page.goto(served.address)
    page.wait_for_selector("#film-result a.take")
    save(page, tmp_path / "saved.mp4")
    assert len(times(tmp_path / "saved.mp4")) == NUM_FRAMES


@pytest.mark.browser
def test_what_is_no_film_is_refused_in_plain_words(page: Any, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("not a film at all")
    bring(page, note)
    toast = page.inner_text(".toast-body")
    assert "note.txt" in toast
    assert "Traceback" not in toast
    assert not page.is_visible("#film-run")


@pytest.mark.browser
def test_a_picture_before_and_after_and_who_is_who(page: Any, film: Path, tmp_path: Path) -> None:
    bring(page, film)
    page.click("#film-compare")
    page.wait_for_function("document.querySelectorAll('#film-pair img').length >= 2")
    page.click("text=Only some people")
    page.click("#film-run")
    assert "say whose faces" in page.inner_text(".toast-body").lower()
    page.click("#film-find")
    page.wait_for_selector("#film-gallery img")
    assert page.inner_text("#film-people label") == "1"
    bring(page, Path(shutil.copy(film, tmp_path / "another.mp4")))
    page.wait_for_selector("#film-facts >> text=another.mp4")
    page.wait_for_selector("#film-pair", state="hidden")
    page.wait_for_selector("#film-people", state="hidden")
    page.wait_for_selector("#film-gallery img", state="detached")
    page.click("#film-compare")
    page.wait_for_selector("#film-pair img")


@pytest.mark.browser
def test_a_photo_is_restored_with_one_button(page: Any, film: Path, tmp_path: Path) -> None:
    photo = tmp_path / "portrait.png"
    with av.open(str(film)) as source:
        next(source.decode(video=0)).to_image().save(photo)
    note = tmp_path / "note.jpg"
    note.write_text("not a picture at all")
    page.get_by_role("tab", name="Photo").click()
    page.set_input_files("#photo-upload input[type=file]", note)
    page.wait_for_selector("#photo-name >> text=note.jpg")
    page.click("#photo-run")
    assert "note.jpg is not a photograph" in page.inner_text("#photo-result .bad")
    page.set_input_files("#photo-upload input[type=file]", photo)
    page.wait_for_selector("#photo-name >> text=portrait.png")
    page.click("#photo-run")
    page.wait_for_selector("#photo-result a.take")
    assert "One face was found" in page.inner_text("#photo-result")
    assert "Ready after" in page.inner_text("#photo-result")
    page.wait_for_function(
        "[...document.querySelectorAll('img')].filter(i => i.naturalWidth == 640).length == 2"
    )
