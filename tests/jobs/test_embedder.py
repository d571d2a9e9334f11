"""What tells people apart is optional, and said."""

import pytest

from tests.support.fakes import FakeEmbedder
from vidrestore.errors import DeviceError, WeightsCorruptError
from vidrestore.jobs import networks
from vidrestore.jobs.networks import load_embedder


def installed(monkeypatch, answer):
    monkeypatch.setattr(networks.DlibIdentity, "installed", answer)


def test_without_it_geometry_decides(monkeypatch):
    installed(monkeypatch, lambda _: None)
    assert load_embedder() == (
        None,
        "identity by geometry and structure (no embedding installed)",
    )


def test_with_it_it_is_named(monkeypatch):
    fake = FakeEmbedder()
    installed(monkeypatch, lambda _: fake)
    assert load_embedder() == (fake, "identity by fake")


@pytest.mark.parametrize("error", [WeightsCorruptError("damaged"), DeviceError("not loaded")])
def test_where_it_does_not_work_it_is_said_and_the_run_goes_on(monkeypatch, caplog, error):
    def fail(_):
        raise error

    installed(monkeypatch, fail)
    embedder, choice = load_embedder()
    assert embedder is None
    assert "not usable" in choice
    assert str(error) in caplog.text
