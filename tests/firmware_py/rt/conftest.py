"""Signals for the tests here. Every test also runs with NUMBA_DISABLE_JIT=1, at sizes that Python can do."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import numpy as np
import pytest
from numba import config

from continuo.firmware_py.audio_file import read_audio

ASSETS = Path(__file__).parents[3] / "firmware_py" / "assets"


def notes(samples, sample_rate_hz=44_100, seed=1):
    """Three struck strings, slightly inharmonic and detuned, over a noise floor of 16 bits; float32, peak 0.5."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / sample_rate_hz
    x = np.zeros(samples)
    for pitch_hz in (110.0, 277.2, 415.3):
        for partial in range(1, 25):
            frequency_hz = pitch_hz * partial * np.sqrt(1 + 4e-4 * partial**2)
            for detune in (0.9997, 1.0003):
                phase = rng.uniform(0, 2 * np.pi)
                x += np.sin(2 * np.pi * frequency_hz * detune * t + phase) * np.exp(-t * (1 + partial)) / partial
    return (0.5 * x / np.abs(x).max() + rng.normal(0, 2**-16, samples)).astype(np.float32)


@pytest.fixture(scope="session")
def jit():
    """Whether kernels are compiled."""
    return not config.DISABLE_JIT


@pytest.fixture(scope="session", params=["notes", "recording"])
def music(request):
    """At least 16,384 samples of one channel, float32: synthetic, and the recordings that come with the repository."""
    if request.param == "notes":
        return notes(16_384)
    recordings = sorted(ASSETS.glob("*.flac"))
    if not recordings:
        pytest.skip("no recording is bundled")
    samples = read_audio(recordings[0]).samples[:, 0]
    loudest = int(np.argmax(np.abs(samples)))
    start = min(loudest, len(samples) - 16_384)
    return np.ascontiguousarray(samples[start : start + 16_384])


@pytest.fixture(scope="session")
def virtual():
    """Module `virtual.py` beside this file: a sender, a network and a box's audio thread in virtual time."""
    found = spec_from_file_location("continuo_tests_virtual", Path(__file__).with_name("virtual.py"))
    module = sys.modules[found.name] = module_from_spec(found)
    found.loader.exec_module(module)
    return module
