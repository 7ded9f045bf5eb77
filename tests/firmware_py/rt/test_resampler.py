import numpy as np
import pytest

from continuo.firmware_py.rt.resampler import RATIO_LIMIT, Resampler, sinc_table
from continuo.firmware_py.rt.spec import StreamSpec

SPEC = StreamSpec(48_000, 128, 1)


@pytest.fixture
def seconds(jit):
    """Of sound: what Python can do."""
    return 4.0 if jit else 0.1


def made(spec=SPEC, enabled=True):
    resampler = Resampler()
    resampler.prepare(spec, enabled)
    return resampler


def run(resampler, x, ratios, packet=128):
    """Resample whole packets of ``x`` [shape=(n, channels)]; a ratio, or one per packet."""
    packets = len(x) // packet
    ratios = np.broadcast_to(ratios, packets)
    out = []
    for k in range(packets):
        y = resampler.process(x[k * packet : (k + 1) * packet], float(ratios[k]))
        out.append(y[: resampler.samples].copy())
    return np.concatenate(out)


def tone(frequency_hz, seconds, rate_hz=48_000, channels=1):
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.repeat(0.5 * np.sin(2 * np.pi * frequency_hz * t)[:, np.newaxis], channels, axis=1).astype(np.float32)


def residual_db(y, cycles_per_sample):
    """What is left of ``y`` [shape=(n,)] without its sine of that frequency, against the sine: THD+N."""
    angle = 2 * np.pi * cycles_per_sample * np.arange(len(y))
    basis = np.stack((np.sin(angle), np.cos(angle), np.ones(len(y))), axis=1)
    fitted = basis @ np.linalg.lstsq(basis, y.astype(float), rcond=None)[0]
    return 10 * np.log10(np.sum((y - fitted) ** 2) / np.sum(fitted**2))


@pytest.mark.parametrize("channels", [1, 2, 8])
def test_off_it_passes_on_bit_by_bit(channels):
    resampler = made(StreamSpec(44_100, 64, channels), enabled=False)
    x = np.random.default_rng(0).normal(0, 0.3, (640, channels)).astype(np.float32)
    np.testing.assert_array_equal(run(resampler, x, 1.0003, 64), x)
    assert resampler.latency_samples == 0


def test_the_latency_is_that_of_an_impulse():
    resampler = made()
    x = np.zeros((1280, 1), np.float32)
    x[500] = 1
    y = run(resampler, x, 1.0)
    assert len(y) == len(x)
    assert np.argmax(np.abs(y[:, 0])) - 500 == resampler.latency_samples <= 32
    symmetric = y[500 + resampler.latency_samples - 20 :][:41, 0]
    np.testing.assert_allclose(symmetric, symmetric[::-1], atol=1e-6)


@pytest.mark.parametrize("ppm", [-1000, -300, -1, 0, 37, 100, 300, 1000])
@pytest.mark.parametrize("rate_hz", [44_100, 48_000])
def test_a_tone_stays_a_tone(ppm, rate_hz, seconds):
    """THD+N of 1 kHz at a constant ratio, at the frequency that the ratio makes of it."""
    ratio = 1 + 1e-6 * ppm
    resampler = made(StreamSpec(rate_hz, 128, 1))
    run(resampler, np.zeros((256, 1), np.float32), ratio)
    y = run(resampler, tone(1000.0, seconds, rate_hz), ratio)[200:, 0]
    assert residual_db(y, 1000.0 / rate_hz * ratio) < -100


@pytest.mark.parametrize(
    ("frequency_hz", "floor_db"), [(100.0, -100), (5000.0, -100), (12_000.0, -96), (18_000.0, -94)]
)
def test_so_do_other_tones(frequency_hz, floor_db, seconds):
    ratio = 1.000271
    resampler = made()
    run(resampler, np.zeros((256, 1), np.float32), ratio)
    y = run(resampler, tone(frequency_hz, seconds), ratio)[200:, 0]
    assert residual_db(y, frequency_hz / 48_000 * ratio) < floor_db
    assert 20 * np.log10(np.sqrt(2) * np.std(y) / 0.5) == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("packet", [32, 128, 1024])
def test_streaming_equals_the_sum_it_stands_for(packet):
    """Packet by packet, with a moving ratio, the output is the windowed sinc at the places that the ratios lead to."""
    rng = np.random.default_rng(1)
    packets = 4096 // packet
    x = rng.normal(0, 0.2, (4096, 2)).astype(np.float32)
    ratios = 1 + rng.uniform(-RATIO_LIMIT, RATIO_LIMIT, packets)
    y = run(made(StreamSpec(48_000, packet, 2)), x, ratios, packet)
    table, place, step, at = sinc_table().astype(float), -24.0, 1.0, 0
    padded = np.concatenate((np.zeros((72, 2)), x))
    for k in range(packets):
        growth = (ratios[k] - step) / packet
        while place < (k + 1) * packet - 24:
            whole = int(np.floor(place))
            fraction = (place - whole) * (len(table) - 1)
            phase = int(fraction)
            weights = table[phase] + (fraction - phase) * (table[phase + 1] - table[phase])
            around = padded[72 + whole - 23 : 72 + whole + 25]
            np.testing.assert_allclose(y[at], weights @ around, atol=2e-6)
            at, place, step = at + 1, place + step, step + growth
        step = ratios[k]
    assert at == len(y)


def test_channels_do_not_touch_each_other(seconds):
    spec = StreamSpec(48_000, 128, 8)
    x = np.concatenate([tone(200.0 * (c + 1), seconds / 2) for c in range(8)], axis=1)
    together = run(made(spec), x, 1.0002)
    for c in range(8):
        alone = run(made(), np.ascontiguousarray(x[:, c : c + 1]), 1.0002)
        np.testing.assert_array_equal(together[:, c], alone[:, 0])


@pytest.mark.parametrize("ratio", [0.999, 0.9997, 1.0, 1.0003, 1.001])
def test_as_many_samples_leave_as_the_ratio_says(ratio, seconds):
    resampler = made()
    packets = round(375 * seconds)
    counts = []
    for _ in range(packets):
        resampler.process(np.zeros((128, 1), np.float32), ratio)
        counts.append(resampler.samples)
    assert sum(counts) == pytest.approx(128 * packets / ratio, abs=1.1)
    assert max(counts) - min(counts) <= 1
    assert max(counts) <= resampler.most_samples(128)


def test_the_ratio_is_held_within_its_limits(seconds):
    resampler = made()
    total = 0
    for ratio in [0.5, 2.0, float("inf"), -1.0] * round(20 * seconds):
        resampler.process(np.zeros((128, 1), np.float32), ratio)
        total += resampler.samples
        assert 127 <= resampler.samples <= 129
    assert total > 0


def test_a_moving_ratio_makes_no_click(seconds):
    """As the ratio swings from end to end within a second, the tone's curvature never exceeds a tone's."""
    x = tone(1000.0, seconds)
    packets = len(x) // 128
    y = run(made(), x, 1 + RATIO_LIMIT * np.sin(2 * np.pi * np.arange(packets) / 375))[200:, 0]
    highest = 0.5 * (2 * np.pi * 1000.0 * (1 + RATIO_LIMIT) / 48_000) ** 2
    assert np.abs(np.diff(y, 2)).max() < 1.01 * highest


def test_what_is_constant_stays_constant():
    y = run(made(), np.full((1280, 1), 0.25, np.float32), 1.0005)[100:]
    np.testing.assert_allclose(y, 0.25, atol=1e-6)


def test_reset_forgets(seconds):
    resampler = made()
    x = tone(440.0, min(seconds, 0.5))
    first = run(resampler, x, 1.0004)
    resampler.reset()
    np.testing.assert_array_equal(run(resampler, x, 1.0004), first)
