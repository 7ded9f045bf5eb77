"""Fixtures that several folders use."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("timed_pcm", Path(__file__).parent / "audio" / "timed_pcm.py")
timed_pcm = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(timed_pcm)


@pytest.fixture(scope="session")
def timed_pcm_library(tmp_path_factory):
    """The plugin behind `timed_cards`, built once."""
    return timed_pcm.build(tmp_path_factory.mktemp("timed_pcm"))


@pytest.fixture
def timed_cards(timed_pcm_library, tmp_path, monkeypatch):
    """Sound cards without hardware, for this process and those that it starts: see `audio/timed_pcm.py`."""
    folder = tmp_path / "cards"
    folder.mkdir()
    cards = timed_pcm.TimedCards(folder, timed_pcm_library)
    for name, value in cards.environment.items():
        monkeypatch.setenv(name, value)
    return cards
