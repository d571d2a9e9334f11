from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import create_autospec

import pytest

from vidrestore.errors import SettingsError
from vidrestore.settings import BlendSettings, RestoreSettings
from vidrestore.web import shelf as shelf_module
from vidrestore.web.jobs import JobManager
from vidrestore.web.server import sweep_away
from vidrestore.web.shelf import Shelf


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "films"
    (root / "1994").mkdir(parents=True)
    (root / ".hidden").mkdir()
    for name in ("b.mp4", "1994/a.AVI", "notes.txt", ".hidden/c.mp4", ".d.mp4"):
        (root / name).write_bytes(b"film")
    (tmp_path / "outside.mp4").write_bytes(b"film")
    (root / "link.mp4").symlink_to(tmp_path / "outside.mp4")
    (root / "linked").symlink_to(tmp_path)
    return root


@pytest.fixture
def shelf(root: Path) -> Iterator[Shelf]:
    with Shelf(root) as shelf:
        yield shelf


def test_films_below_the_root_are_listed(shelf: Shelf) -> None:
    assert shelf.films() == [
        "b.mp4",
        "1994/a.AVI",
    ]
    with Shelf() as without:
        assert without.films() == []


@pytest.mark.parametrize("name", ["b.mp4", "1994/a.AVI", "1994/../b.mp4", " b.mp4 "])
def test_a_film_below_the_root_stays_where_it_is(shelf: Shelf, root: Path, name: str) -> None:
    item = shelf.name_film(name)
    assert item.source == (root / name.strip()).resolve()
    assert shelf.find(item.token) == item
    shelf.remove(item)
    assert shelf.find(item.token) is None
    assert item.source.exists()
    assert not item.folder.exists()


@pytest.mark.parametrize(
    "name",
    ["../outside.mp4", "link.mp4", "linked/outside.mp4", "/etc/passwd", "1994", "x", "\0", ""],
)
def test_nothing_else_can_be_named(shelf: Shelf, name: str) -> None:
    with pytest.raises(SettingsError, match="there is no film"):
        shelf.name_film(name)


def test_without_a_root_nothing_can_be_named() -> None:
    with Shelf() as shelf, pytest.raises(SettingsError, match="--root"):
        shelf.name_film("/etc/passwd")


def test_what_arrived_is_moved_into_a_folder_of_its_own(shelf: Shelf) -> None:
    for _ in range(2):
        arrived = shelf.incoming / "hash" / '.we<ird> "näme".mp4'
        arrived.parent.mkdir(exist_ok=True)
        arrived.write_bytes(b"film")
        item = shelf.bring(arrived)
        assert not arrived.exists()
        assert item.source.read_bytes() == b"film"
        assert item.name == "we_ird_ _näme_.mp4"
    with pytest.raises(SettingsError, match="choose it again"):
        shelf.bring(arrived)


def test_only_what_arrived_can_be_brought(shelf: Shelf, root: Path) -> None:
    (shelf.incoming / "link.mp4").symlink_to(root / "b.mp4")
    for path in (root / "b.mp4", shelf.incoming / "link.mp4", shelf.incoming):
        with pytest.raises(SettingsError, match="not uploaded here"):
            shelf.bring(path)
    assert (root / "b.mp4").exists()


def test_the_same_choices_lead_to_the_same_place(shelf: Shelf) -> None:
    item = shelf.name_film("b.mp4")
    weak = RestoreSettings(blend=BlendSettings(strength=0.5))
    assert item.target(weak) == item.target(weak)
    assert item.target(weak) != item.target(RestoreSettings())
    assert item.target(weak).name == "b-restored.mp4"


def test_only_what_nobody_looks_at_is_stale(root: Path) -> None:
    with Shelf(root, kept_seconds=1000) as shelf:
        item = shelf.name_film("b.mp4")
        assert shelf.stale() == []
    with Shelf(root, kept_seconds=0) as shelf:
        item = shelf.name_film("b.mp4")
        assert shelf.stale() == [item]


def test_the_day_of_a_result_begins_when_the_work_ends(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr(shelf_module, "time", SimpleNamespace(monotonic=lambda: now))
    manager = create_autospec(JobManager)
    with Shelf(root, kept_seconds=24) as shelf:
        item = shelf.name_film("b.mp4")
        manager.is_busy_for.return_value = True
        now = 30.0
        sweep_away(shelf, manager)
        manager.is_busy_for.return_value = False
        now = 53.0
        sweep_away(shelf, manager)
        assert item.folder.is_dir()
        now = 55.0
        sweep_away(shelf, manager)
        assert not item.folder.exists()
        manager.forget.assert_called_once_with(item.token)


def test_everything_is_removed_at_the_end(root: Path) -> None:
    with Shelf(root) as shelf:
        folder = shelf.name_film("b.mp4").folder
        assert folder.is_dir()
    assert not folder.exists()
    assert not shelf.incoming.exists()


def test_keys_cannot_be_guessed(shelf: Shelf) -> None:
    first, second = shelf.name_film("b.mp4"), shelf.name_film("b.mp4")
    assert first.token != second.token
    assert len(first.token) >= 24
    for token in (None, "", first.token[:-1], first.token.swapcase()):
        assert shelf.find(token) is None
