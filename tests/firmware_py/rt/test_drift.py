"""The loop of jitter buffer, drift estimate and resampler, with two clocks apart, in virtual time."""

import numpy as np
import pytest

from continuo.firmware_py.rt.drift import DriftEstimator
from continuo.firmware_py.rt.playout import Action
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timeline import Timeline

RATE_HZ = 48_000
CENT = 2 ** (1 / 1200) - 1


@pytest.fixture
def virtual(virtual, jit):
    """As everywhere, but compiled only."""
    if not jit:
        pytest.skip("minutes of sound are too many for Python")
    return virtual


def thd_n_db(y, frequency_hz=1000.0, guard_hz=20.0, rate_hz=RATE_HZ):
    """THD+N of each whole second: all but ``frequency_hz`` +- ``guard_hz``, against that. AES17's notch is wider."""
    k = np.arange(rate_hz)
    weights = (0.35875, -0.48829, 0.14128, -0.01168)  # Blackman-Harris: side lobes below -92 dB, falling
    window = sum(a * np.cos(2 * np.pi * i * k / rate_hz) for i, a in enumerate(weights))
    seconds = y[: len(y) // rate_hz * rate_hz].reshape(-1, rate_hz)
    power = np.abs(np.fft.rfft(seconds * window)) ** 2
    hz = np.arange(power.shape[1])
    tone = np.abs(hz - frequency_hz) <= guard_hz
    rest = ~tone & (hz > 10)
    return 10 * np.log10(power[:, rest].sum(axis=1) / power[:, tone].sum(axis=1))


NETWORKS = {
    "near": {"jitter_ms": 0.1},
    "jitter": {"jitter_ms": 1.0},
    "wireless": {"gaussian_ms": 2.0},
    "lossy": {"jitter_ms": 0.5, "loss": 0.05, "burst": 0.5},
}


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(("sender_ppm", "our_ppm"), [(0, 0), (100, 0), (-300, 0), (300, 0), (200, -100)])
def test_it_locks_and_nobody_hears_it(network, sender_ppm, our_ppm, virtual):
    """40 s from the first packet on."""
    loop = virtual.play_resampled(virtual.Network(**NETWORKS[network], sender_ppm=sender_ppm), 40, our_ppm=our_ppm)
    true = (1 + 1e-6 * sender_ppm) / (1 + 1e-6 * our_ppm)
    drift_error_ppm = loop.drift_ppm - 1e6 * (true - 1)
    assert np.abs(drift_error_ppm[15 * 375 :]).max() < (25 if network == "wireless" else 15)
    # Pitch: at no time off by a cent. Movement: at most a tenth of a cent in a second.
    assert np.abs(loop.ratio / true - 1).max() < CENT
    assert np.abs(loop.ratio[375:] - loop.ratio[:-375]).max() <= 61e-6
    # The tone: from where it has begun. The first seconds hold what it costs to find the buffer's depth.
    assert thd_n_db(loop.played[10 * RATE_HZ :]).max() < -80
    # Once locked nothing is inserted or merged.
    settled = [action for action, _, _ in loop.outcome.pulls[10 * 375 :]]
    assert not {Action.INSERTED, Action.MERGED} & set(settled)
    assert settled.count(Action.LOST) <= (0.2 if network == "lossy" else 0.004) * len(settled)


@pytest.mark.parametrize(("sender_ppm", "our_ppm"), [(100, 0), (150, -150)])
def test_ten_minutes_of_drift(sender_ppm, our_ppm, virtual):
    """Clocks 100 and 300 ppm apart would be 60 and 180 ms apart in the end: the wait for a packet stays what it was."""
    loop = virtual.play_resampled(
        virtual.Network(jitter_ms=0.5, sender_ppm=sender_ppm), 600, our_ppm=our_ppm, wake_ms=0.1
    )
    wait_ms = loop.wait_ms[15 * 375 :]
    assert wait_ms.max() - wait_ms.min() < 2.5
    assert max(loop.outcome.depth_samples[15 * 375 :]) <= 6 * 128
    assert loop.outcome.late_share() < 0.004
    settled = {action for action, _, _ in loop.outcome.pulls[10 * 375 :]}
    assert not {Action.INSERTED, Action.MERGED} & settled
    thd_n = thd_n_db(loop.played[5 * RATE_HZ :])
    assert thd_n.max() < -80
    # Pitch of each minute, from the phase of the tone. The first still leans towards the buffer's wanted depth.
    minutes = loop.played[15 * RATE_HZ :][: 9 * 60 * RATE_HZ].reshape(9, -1).astype(float)
    t = np.arange(minutes.shape[1])
    phase = np.angle((minutes * np.exp(-2j * np.pi * 1000.0 / RATE_HZ * t)).reshape(9, 60, -1).mean(axis=2))
    hz = np.polyfit(np.arange(60), np.unwrap(phase).T, 1)[0] / (2 * np.pi)
    true_hz = 1000.0 * ((1 + 1e-6 * sender_ppm) / (1 + 1e-6 * our_ppm) - 1)
    cents = (hz - true_hz) / 1000.0 / CENT
    assert np.abs(cents).max() < 0.1
    assert np.abs(cents[1:]).max() < 0.03
    # No click: the tone's curvature never exceeds the tone's.
    settled = loop.played[15 * RATE_HZ :]
    highest = 0.5 * (2 * np.pi * 1000.0 * 1.001 / RATE_HZ) ** 2
    assert np.abs(np.diff(settled, 2)).max() < 1.02 * highest


@pytest.mark.parametrize(("packet", "period"), [(128, 64), (128, 256), (64, 96), (512, 512), (512, 128)])
def test_packets_and_periods_of_any_length(packet, period, virtual):
    spec = StreamSpec(44_100, packet, 2)
    loop = virtual.play_resampled(virtual.Network(jitter_ms=0.3, sender_ppm=300), 40, spec=spec, period_samples=period)
    per_second = 44_100 // period
    assert np.abs(loop.drift_ppm[15 * per_second :] - 300).max() < 15
    assert thd_n_db(loop.played[12 * 44_100 :], rate_hz=44_100).max() < -80
    settled = {action for action, _, _ in loop.outcome.pulls[10 * 44_100 // packet :]}
    assert not {Action.INSERTED, Action.MERGED} & settled
    assert loop.outcome.late_share() < 0.004
    wait_ms = loop.wait_ms[20 * per_second :]
    assert wait_ms.max() - wait_ms.min() < 2.5


def test_a_knob_turned_does_not_bend_the_pitch(virtual):
    """The buffer gets 3 packets deeper at once; the ratio leans by no more than for the fraction of a packet."""
    loop = virtual.play_resampled(virtual.Network(jitter_ms=0.2, sender_ppm=100), 30, tightness=1.0)
    deep = virtual.play_resampled(virtual.Network(jitter_ms=0.2, sender_ppm=100), 30, tightness=0.0)
    for one in (loop, deep):
        assert np.abs(one.ratio - 1.0001).max() <= 101e-6
    assert deep.wait_ms[-1] > loop.wait_ms[-1] + 2


def test_a_stalled_device_is_no_drift():
    """Our device stops for 50 ms in an xrun: the estimate stays."""
    estimator, arrivals = DriftEstimator(), Timeline(1e9 * 128 / RATE_HZ)
    estimator.prepare(StreamSpec(RATE_HZ, 128, 1), arrivals, 128)
    rng = np.random.default_rng(0)
    estimates = []
    for k in range(20_000):
        stalled_ns = 50_000_000 if k > 12_000 else 0
        now_ns = round(k * 128e9 / RATE_HZ + rng.exponential(1e5)) + stalled_ns
        estimator.period(now_ns, 128 * k, 0.0)
        arrivals.observe(k, round(k * 128e9 / RATE_HZ / 1.0002 + rng.exponential(1e5)))
        estimates.append(1e-3 * estimator.drift_ppb)
    assert np.abs(np.array(estimates[6000:]) - 200).max() < 8


def test_it_says_nothing_before_it_knows():
    estimator, arrivals = DriftEstimator(), Timeline(1e9 * 128 / RATE_HZ)
    estimator.prepare(StreamSpec(RATE_HZ, 128, 1), arrivals, 128)
    for k in range(2000):  # our device runs, nobody sends
        assert estimator.period(round(k * 128e9 / RATE_HZ), 128 * k, 0.0) == 1.0
    assert estimator.drift_ppb == 0


def test_clocks_too_far_apart_are_followed_as_far_as_it_goes(virtual):
    """1000 ppm is no clock to play on: the ratio stays within its limits, the buffer makes up for the rest."""
    loop = virtual.play_resampled(virtual.Network(jitter_ms=0.2, sender_ppm=1000), 60)
    assert loop.ratio.max() <= 1 + 600e-6 + 1e-9
    assert Action.MERGED in {action for action, _, _ in loop.outcome.pulls[-10 * 375 :]}
    assert max(loop.outcome.depth_samples[5000:]) < 8 * 128
