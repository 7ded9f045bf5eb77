from functools import partial

import numpy as np
import pytest

from continuo.firmware_py.rt.predictor import BOUND, BurgPredictor, PaperPredictor, RepeatPacket, Silence
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import Rung

SPEC = StreamSpec(44_100, 64)
SMALL = {
    "burg": partial(BurgPredictor, 16, 128),
    "paper": partial(PaperPredictor, 16, 128),
    "repeat": RepeatPacket,
    "silence": Silence,
}
FULL = {"burg": BurgPredictor, "paper": PaperPredictor, "repeat": RepeatPacket, "silence": Silence}


def context_of(kind, samples):
    t = np.arange(samples)
    rng = np.random.default_rng(0)
    sine = np.sin(0.1 * t)
    middle, last = np.eye(1, samples, samples // 2)[0], np.eye(1, samples, samples - 1)[0]
    return {
        "nan": np.full(samples, np.nan),
        "one nan": np.where(middle > 0, np.nan, sine),
        "infinite": np.full(samples, -np.inf),
        "one infinite": np.where(last > 0, np.inf, sine),
        "huge": np.where(middle > 0, 1e38, 0.1 * sine),
        "growing": np.exp(0.2 * (t - samples)),
        "growing sine": np.exp(0.05 * (t - samples)) * sine,
        "alternating growth": np.exp(0.1 * (t - samples)) * (-1.0) ** t,
        "silent": np.zeros(samples),
        "clipped square": np.sign(np.sin(0.05 * t) + 1e-9),
        "dc": np.full(samples, 0.7),
        "ramp": np.linspace(-1, 1, samples),
        "very quiet": 1e-7 * sine,
        "first sample": np.eye(1, samples)[0],
        "click": middle,
        "last sample": last,
        "full-scale sine": sine,
        "nyquist": (-1.0) ** t,
        "denormal": 1e-41 * sine,
        "noise": rng.uniform(-1, 1, samples),
    }[kind].astype(np.float32)


KINDS = (
    "nan", "one nan", "infinite", "one infinite", "huge", "growing", "growing sine", "alternating growth", "silent",
    "clipped square", "dc", "ramp", "very quiet", "first sample", "click", "last sample", "full-scale sine", "nyquist",
    "denormal", "noise",
)  # fmt: skip


def predictor_of(name, jit, predict_samples=96):
    predictor = (FULL if jit else SMALL)[name]()
    predictor.prepare(SPEC, predict_samples)
    return predictor


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SMALL)
def test_output_is_bounded(name, kind, jit):
    samples = 1024 if jit else 96
    predictor = predictor_of(name, jit, samples)
    context = context_of(kind, predictor.context_samples)
    before = context.copy()
    out = np.full(samples, np.nan, np.float32)
    predictor.predict(context, out)
    np.testing.assert_array_equal(context, before)
    usable = np.abs(context[np.abs(context) <= 64])  # NaN compares false
    loudest = usable.max() if usable.size else 0.0
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= BOUND * loudest * (1 + 1e-6)


@pytest.mark.parametrize("name", ["burg", "paper"])
def test_constant_goes_on(name, jit):
    """Burg keeps a constant; the autocorrelation method sees it begin and end, and lets it decay."""
    predictor = predictor_of(name, jit)
    out = np.zeros(96, np.float32)
    predictor.predict(context_of("dc", predictor.context_samples), out)
    if name == "burg":
        np.testing.assert_allclose(out, 0.7, rtol=1e-3)
    else:
        assert (np.diff(out) < 0.01).all()


@pytest.mark.parametrize("level", [1e-7, 1.0, 30.0])
def test_level_does_not_matter(level, jit, music):
    """Scaling by a power of two changes nothing but the exponent, so any level is predicted alike."""
    predictor = predictor_of("burg", jit)
    gain = np.float32(2.0 ** np.round(np.log2(level)))
    context = music[: predictor.context_samples] / np.abs(music).max()
    reference, out = np.zeros((2, 96), np.float32)
    predictor.predict(context, reference)
    predictor.predict(context * gain, out)
    np.testing.assert_array_equal(out, reference * gain)


def test_burg_follows_a_chord_that_the_paper_loses(jit, music):
    """The reason for all this: on tonal music high-order Burg is closer than the paper's predictor."""
    if not jit:
        pytest.skip("orders differ uncompiled")
    errors = {}
    for name in ("burg", "paper"):
        predictor = predictor_of(name, jit, 512)
        out = np.zeros(512, np.float32)
        total = 0.0
        for end in range(7000, 15_000, 1000):
            predictor.predict(music[end - predictor.context_samples : end], out)
            total += np.sum((out - music[end : end + 512]) ** 2)
        errors[name] = total
    assert errors["burg"] < errors["paper"]


def test_short_packets_get_smaller_fits():
    def prepared(sample_rate_hz, packet_samples):
        predictor = BurgPredictor()
        predictor._fit = lambda: None  # sizes only
        predictor.prepare(StreamSpec(sample_rate_hz, packet_samples), 32)
        return predictor.order, predictor.context_samples

    assert prepared(44_100, 512) == (1280, 6144)
    assert prepared(44_100, 128) == (1280, 6144)
    assert prepared(44_100, 64) == (1024, 4096)
    assert prepared(44_100, 32) == (512, 2048)
    assert prepared(96_000, 32) == (256, 1024)


def test_repeat_repeats():
    predictor = RepeatPacket()
    predictor.prepare(StreamSpec(44_100, 32), 80)
    assert predictor.context_samples == 32
    context = np.linspace(-0.5, 1, 32, dtype=np.float32)
    out = np.zeros(80, np.float32)
    predictor.predict(context, out)
    np.testing.assert_allclose(out, np.resize(context, 80), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "rung"), [("burg", Rung.LPC), ("paper", Rung.LPC), ("repeat", Rung.REPEAT), ("silence", Rung.FADE)]
)
def test_names_its_rung(name, rung):
    assert SMALL[name]().rung == rung
