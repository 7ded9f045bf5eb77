"""The golden file holds columns 0, 7 and 15 of librosa 0.11.0's mel spectrogram of `chirp`:

librosa.feature.melspectrogram(y=chirp(rate), sr=rate, n_fft=512, hop_length=256, n_mels=64, power=1)
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from continuo.firmware_py import metrics
from continuo.firmware_py.errors import InputError, MissingError
from continuo.firmware_py.metrics import (
    METRICS,
    all_metrics,
    installed_metrics,
    lsd_db,
    lsd_gap_db,
    mel_sc,
    mel_spectrogram,
    nmse_db,
    nmse_gap_db,
    visqol,
)

RATE = 44_100
GOLDEN = json.loads((Path(__file__).parent / "golden" / "mel_librosa.json").read_text())

jit = pytest.mark.skipif(
    os.environ.get("NUMBA_DISABLE_JIT", "0") != "0", reason="visqol takes minutes without numba's compiler"
)


def chirp(rate):
    n = np.arange(4000)
    return np.sin(2 * np.pi * (300 + 2 * n) * n / rate) * np.exp(-n / 3000)


def noise(*shape, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize("rate", [22_050, 44_100, 96_000])
def test_mel_spectrogram_equals_librosas(rate):
    mel = mel_spectrogram(chirp(rate), rate)
    assert mel.shape == (64, 1 + 4000 // 256)
    assert mel.dtype == np.float64
    for column, expected in GOLDEN[str(rate)].items():
        np.testing.assert_allclose(mel[:, int(column)], expected, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("frames", [0, 1, 255, 256, 2048 * 256 - 1, 2048 * 256 + 300])
def test_mel_spectrogram_of_any_length(frames):
    mel = mel_spectrogram(noise(frames), RATE)
    assert mel.shape == (64, 1 + frames // 256)
    if frames > 2048 * 256:  # the second block goes on where the first ended
        tail = mel_spectrogram(noise(frames)[2040 * 256 :], RATE)
        np.testing.assert_allclose(mel[:, 2042:], tail[:, 2:], rtol=1e-9)


def test_nmse_by_hand():
    reference = np.array([3.0, 4.0, 0.0, 0.0])
    assert nmse_db(reference, reference * 0.9) == pytest.approx(-20)
    assert nmse_db(reference, np.zeros(4)) == 0
    assert nmse_db(reference, -reference) == pytest.approx(6.0206, abs=1e-4)
    assert nmse_db(reference, reference) == -np.inf
    assert np.isnan(nmse_db(np.zeros(4), reference))


def test_nmse_takes_all_channels_as_one_signal():
    reference = np.array([[1.0, 1.0], [1.0, 1.0]])
    estimate = np.array([[1.1, 0.9], [1.1, 0.9]])  # a mix to mono would show no error at all
    assert nmse_db(reference, estimate) == pytest.approx(-20)
    one_wrong = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert nmse_db(reference, one_wrong) == pytest.approx(-3.0103, abs=1e-4)


def test_nmse_gap_sees_lost_packets_only():
    reference = np.ones(10)
    estimate = np.array([0, 0, 0.9, 0.9, 0, 0, 1.1, 1.1, 0, 0])
    lost = np.array([False, True, False, True, False])
    assert nmse_gap_db(reference, estimate, lost, packet_samples=2) == pytest.approx(-20)
    stereo = np.stack([reference, reference], axis=1), np.stack([estimate, reference], axis=1)
    assert nmse_gap_db(*stereo, lost, packet_samples=2) == pytest.approx(-20 - 3.0103, abs=1e-4)


@pytest.mark.parametrize(
    ("lost", "expected"),
    [
        ([False, False, False, True], -20),  # the last packet is half a one
        ([False, True], -20),  # samples after the trace count as received
        ([False, True, False, False, True, True], -20),  # packets after the samples are ignored
    ],
)
def test_nmse_gap_with_a_trace_longer_or_shorter_than_the_clip(lost, expected):
    assert nmse_gap_db(np.ones(7), np.full(7, 0.9), np.array(lost), packet_samples=2) == pytest.approx(expected)


def test_nmse_gap_without_a_value():
    nothing, everything = np.zeros(2, bool), np.ones(2, bool)
    assert np.isnan(nmse_gap_db(np.ones(4), np.zeros(4), nothing, 2))
    assert np.isnan(nmse_gap_db(np.zeros(4), np.ones(4), everything, 2))
    assert nmse_gap_db(np.ones(4), np.ones(4), everything, 2) == -np.inf


def test_mel_sc_of_scaled_and_silent_estimates():
    reference = noise(10_000)
    assert mel_sc(reference, reference, RATE) == 0
    assert mel_sc(reference, 0.75 * reference, RATE) == pytest.approx(0.25)
    assert mel_sc(reference, -reference, RATE) == pytest.approx(0)  # magnitudes only
    assert mel_sc(reference, np.zeros(10_000), RATE) == pytest.approx(1)
    assert np.isnan(mel_sc(np.zeros(10_000), reference, RATE))


def test_mel_sc_is_the_ratio_of_norms_of_mel_spectrograms():
    reference, estimate = noise(600_000, seed=1), noise(600_000, seed=2)
    x, y = mel_spectrogram(reference, RATE), mel_spectrogram(estimate, RATE)
    expected = np.linalg.norm(y - x) / np.linalg.norm(x)
    assert mel_sc(reference, estimate, RATE) == pytest.approx(expected, rel=1e-9)


def test_mel_sc_is_the_mean_over_channels_that_are_not_silent():
    reference = noise(10_000, 3)
    reference[:, 1] = 0
    estimate = reference * [0.5, 1.0, 0.9]
    assert mel_sc(reference, estimate, RATE) == pytest.approx((0.5 + 0.1) / 2)


def test_lsd_of_a_scaled_estimate_is_its_gain_in_db():
    reference = noise(20_000)
    assert lsd_db(reference, reference, RATE) == 0
    assert lsd_db(reference, 0.5 * reference, RATE) == pytest.approx(6.0206, abs=1e-4)
    assert lsd_db(0.5 * reference, reference, RATE) == pytest.approx(6.0206, abs=1e-4)
    stereo = noise(20_000, 2)
    assert lsd_db(stereo, stereo * [0.5, 1.0], RATE) == pytest.approx(3.0103, abs=1e-4)


def test_lsd_floor_is_100_db_below_a_full_scale_sine():
    """A sine on bin 40 fills it at 0 dBFS and its neighbours at -6.02 dBFS; the other 254 bins are at the floor."""
    reference = np.sin(2 * np.pi * 40 * np.arange(5120) / 512)
    neighbour_db = 100 + 20 * np.log10(0.5)
    expected = np.sqrt((100**2 + 2 * neighbour_db**2) / 257)
    lost = np.zeros(10, bool)
    lost[4] = True  # frames away from both ends of the clip
    assert lsd_gap_db(reference, np.zeros(5120), lost, 512, RATE) == pytest.approx(expected, abs=1e-6)
    assert lsd_db(1e-6 * reference, np.zeros(5120), RATE) == 0


def test_lsd_gap_takes_the_frames_that_overlap_lost_packets():
    """Packet 4 is samples 2048 to 2560: the frames centred at 2048, 2304 and 2560; that at 1792 ends before it."""
    reference = noise(5120)
    estimate = reference.copy()
    estimate[2048:2560] = 0
    lost = np.zeros(10, bool)
    lost[4] = True
    x, y = (np.lib.stride_tricks.sliding_window_view(np.pad(s, 256), 512)[::256] for s in (reference, estimate))
    window = np.hanning(513)[:-1]
    with np.errstate(divide="ignore"):
        level = [20 * np.log10(np.maximum(np.abs(np.fft.rfft(s * window)), 128e-5)) for s in (x, y)]
    per_frame = np.sqrt(np.mean((level[0] - level[1]) ** 2, axis=1))
    assert np.flatnonzero(per_frame).tolist() == [8, 9, 10]
    assert lsd_gap_db(reference, estimate, lost, 512, RATE) == pytest.approx(per_frame[8:11].mean())
    assert lsd_db(reference, estimate, RATE) == pytest.approx(per_frame.mean())
    assert np.isnan(lsd_gap_db(reference, estimate, np.zeros(10, bool), 512, RATE))


@pytest.mark.parametrize(
    "metric",
    [
        nmse_db,
        lambda x, y: nmse_gap_db(x, y, np.ones(1, bool), 32),
        lambda x, y: mel_sc(x, y, RATE),
        lambda x, y: lsd_db(x, y, RATE),
        lambda x, y: lsd_gap_db(x, y, np.ones(1, bool), 32, RATE),
    ],
)
@pytest.mark.parametrize("shapes", [((10,), (11,)), ((10, 2), (10, 1)), ((10,), (10, 1)), ((2, 2, 2), (2, 2, 2))])
def test_different_shapes_are_refused(metric, shapes):
    with pytest.raises(InputError, match="differ in shape"):
        metric(np.ones(shapes[0]), np.ones(shapes[1]))


@jit
def test_visqol_of_equal_signals_is_its_highest_value():
    pytest.importorskip("visqol", reason="extra eval is not installed")
    reference = noise(48_000, seed=4)
    assert visqol(reference, reference, 48_000) == pytest.approx(4.7321, abs=1e-3)
    assert visqol(reference, 0.5 * reference, 48_000) == pytest.approx(4.7321, abs=1e-3)


@jit
@pytest.mark.parametrize("rate", [22_050, 44_100, 48_000, 96_000])
def test_visqol_falls_with_more_loss_at_any_rate(rate):
    pytest.importorskip("visqol", reason="extra eval is not installed")
    n = np.arange(int(1.2 * rate))
    reference = sum(0.1 * np.sin(2 * np.pi * 220 * k * n / rate) for k in range(1, 9)) * np.exp(-(n % 9000) / 4000)
    values = []
    for every in (40, 8):
        estimate = reference.copy()
        for packet in range(2, len(n) // 256, every):
            estimate[256 * packet : 256 * packet + 256] = 0
        values.append(visqol(reference, estimate, rate))
    assert 4.7 > values[0] > values[1] + 0.2 > 1


@pytest.mark.parametrize("rate", [22_050, 32_000, 44_100, 96_000])
def test_the_resampler_for_visqol_keeps_a_tone_and_stops_what_48_khz_cannot_hold(rate):
    pytest.importorskip("scipy", reason="extra eval is not installed")
    seconds = np.arange(rate // 2) / rate
    nyquist_hz = min(rate, 48_000) / 2
    kept_hz = 0.9 * nyquist_hz
    kept = metrics._at_48_khz(np.sin(2 * np.pi * kept_hz * seconds), rate)
    assert len(kept) == 24_000
    expected = np.sin(2 * np.pi * kept_hz * np.arange(24_000) / 48_000)
    np.testing.assert_allclose(kept[2000:-2000], expected[2000:-2000], atol=1e-4)  # away from both ends
    if rate > 48_000:
        stopped = metrics._at_48_khz(np.sin(2 * np.pi * 1.02 * nyquist_hz * seconds), rate)
        assert np.max(np.abs(stopped[2000:-2000])) < 1e-4


@jit
def test_visqol_is_the_mean_over_channels():
    pytest.importorskip("visqol", reason="extra eval is not installed")
    reference = noise(48_000, 3, seed=5)
    reference[:, 2] = 0
    estimate = reference.copy()
    estimate[10_000:30_000, 1] *= 0.1
    one = visqol(reference[:, 1], estimate[:, 1], 48_000)
    assert one < 4.5
    assert visqol(reference, estimate, 48_000) == pytest.approx(
        (visqol(reference[:, 0], reference[:, 0], 48_000) + one) / 2
    )


@jit
def test_visqol_has_no_value_for_silence_and_for_short_clips():
    pytest.importorskip("visqol", reason="extra eval is not installed")
    reference = noise(48_000)
    assert np.isnan(visqol(np.zeros(48_000), reference, 48_000))
    assert np.isnan(visqol(reference, np.zeros(48_000), 48_000))
    assert np.isnan(visqol(reference[:46_079], reference[:46_079], 48_000))
    assert np.isfinite(visqol(reference[:46_080], reference[:46_080], 48_000))


def test_without_its_package_visqol_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "visqol", None)
    metrics._visqol_api.cache_clear()
    with pytest.raises(MissingError, match=r"visqol: pip install 'continuo-nmp\[eval\]'"):
        visqol(np.ones(10), np.ones(10), RATE)
    assert installed_metrics() == tuple(name for name in METRICS if name != "visqol")


def test_all_metrics_has_what_was_asked_for_and_none_for_what_has_no_value():
    reference, lost = noise(5120, 2), np.zeros(10, bool)
    values = all_metrics(reference, 0.9 * reference, lost, 512, RATE, names=["lsd_gap_db", "mel_sc", "nmse_db"])
    assert list(values) == ["nmse_db", "mel_sc", "lsd_gap_db"]
    assert values["nmse_db"] == pytest.approx(-20)
    assert values["mel_sc"] == pytest.approx(0.1)
    assert values["lsd_gap_db"] is None
    same = all_metrics(reference, reference, lost, 512, RATE, names=["nmse_db", "nmse_gap_db", "lsd_db"])
    assert json.loads(json.dumps(same, allow_nan=False)) == {"nmse_db": None, "nmse_gap_db": None, "lsd_db": 0.0}


def test_all_metrics_refuses_an_unknown_name():
    with pytest.raises(InputError, match="no metric 'odg': choose from nmse_db"):
        all_metrics(np.ones(10), np.ones(10), np.ones(1, bool), 10, RATE, names=["nmse_db", "odg"])


def test_importing_the_metrics_loads_no_optional_package():
    import subprocess  # noqa: PLC0415

    code = (
        "import sys, continuo.firmware_py.metrics; print([n for n in ('scipy', 'visqol', 'numba') if n in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Reference figures on real clips, 44.1 kHz, 512-sample packets, means over 21 clips, measured by an independent
# implementation. They are of zero fill and of packet repeat with a Hann crossfade over the first good packet.

REFERENCE = {
    ("short", "zero"): {"nmse_db": -9.83, "nmse_gap_db": 0.0, "mel_sc": 0.3100, "visqol": 4.078},
    ("short", "repeat"): {"nmse_db": -6.74, "nmse_gap_db": 3.07, "mel_sc": 0.2132, "visqol": 3.991},
    ("burst", "zero"): {"nmse_db": -9.71, "nmse_gap_db": 0.0, "mel_sc": 0.3201, "visqol": 4.129},
    ("burst", "repeat"): {"nmse_db": -6.84, "nmse_gap_db": 2.85, "mel_sc": 0.2209, "visqol": 4.090},
}
TOLERANCE = {"nmse_db": 0.006, "nmse_gap_db": 0.006, "mel_sc": 0.00006, "visqol": 0.001}


def conceal(samples, lost, method):
    output = samples.copy()
    fade_in = 0.5 - 0.5 * np.cos(np.pi * (np.arange(512) + 0.5) / 512)
    replacement = None
    for packet, is_lost in enumerate(lost):
        here = slice(512 * packet, 512 * packet + 512)
        if is_lost:
            last = output[512 * packet - 512 : 512 * packet] if packet else np.zeros(512)
            replacement = last.copy() if method == "repeat" else np.zeros(512)
            output[here] = replacement
        elif replacement is not None:
            output[here] = fade_in * samples[here] + (1 - fade_in) * replacement
            replacement = None
    return output


@pytest.mark.parametrize(("traces", "method"), REFERENCE)
@pytest.mark.parametrize(
    "names", [("nmse_db", "nmse_gap_db", "mel_sc"), pytest.param(("visqol",), marks=[pytest.mark.slow, jit])]
)
def test_the_reference_figures_are_reproduced(traces, method, names):
    if not os.environ.get("CONTINUO_DATA"):
        pytest.skip("CONTINUO_DATA does not name the folder with test_public and traces")
    data = Path(os.environ["CONTINUO_DATA"])
    clips = sorted((data / "test_public").glob("*.flac"))
    assert len(clips) == 21
    rows = []
    for clip in clips:
        samples, rate = soundfile.read(clip)
        lost = np.array([digit == "1" for digit in (data / "traces" / traces / f"{clip.stem}.txt").read_text().split()])
        rows.append(all_metrics(samples, conceal(samples, lost, method), lost, 512, rate, names=names))
    for name in names:
        mean = np.mean([row[name] for row in rows])
        assert mean == pytest.approx(REFERENCE[traces, method][name], abs=TOLERANCE[name])
