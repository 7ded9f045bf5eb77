"""The weights that ship are the networks that their cards tell of, and they run in the simulator."""

from dataclasses import replace

import numpy as np
import pytest

from continuo.firmware_py.audio_file import read_audio
from continuo.firmware_py.loss import read_trace
from continuo.firmware_py.rt.timing import Rung
from continuo.firmware_py.simulate import simulate
from continuo.models.bin2bin.runtime import WEIGHTS, load_card, load_weights
from continuo.models.command import BUNDLED

PARAMETERS = {"lite": 947_250, "lite-paper": 3_403_057, "full": 54_415_554}
PREDICTORS = {"lite": "lpc", "lite-paper": "lpc-paper", "full": "lpc"}
RUNGS = {"lite": Rung.LITE, "lite-paper": Rung.LITE, "full": Rung.FULL}
PACKETS = 60


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_card_is_the_networks(name: str) -> None:
    path = WEIGHTS / f"{name}.npz"
    assert sum(p.numel() for p in load_weights(path).generator.parameters()) == PARAMETERS[name]
    card = load_card(path)
    assert card["experiment"]["method"] == PREDICTORS[name]
    text = (WEIGHTS / f"{name}.md").read_text()
    assert f"{card['steps']:,}" in text
    assert f"{PARAMETERS[name]:,}" in text
    assert "licence" in text
    assert path.stat().st_size < 60e6


@pytest.mark.parametrize("name", PARAMETERS)
def test_it_refines_music(name: str) -> None:
    """Its rung replaces the losses, what it plays is sound, and another than the predictor's."""
    clip = BUNDLED / "sax_phrase.flac"
    audio = read_audio(clip)
    audio = replace(audio, samples=audio.samples[: 512 * PACKETS])
    lost = read_trace(clip.with_suffix(".txt"))[:PACKETS]
    refined, predicted = (simulate(audio, lost, method, 512) for method in (name, PREDICTORS[name]))
    rungs = refined.rows["rung"][np.asarray(lost)]
    assert (rungs == RUNGS[name]).mean() > 0.5
    assert np.isfinite(refined.concealed).all()
    assert 0 < np.abs(refined.concealed - predicted.concealed).max() < 1
