import numpy as np
import pytest

from continuo.firmware_py.rt.timeline import Timeline

NOMINAL_NS = 128 / 48_000 * 1e9


@pytest.fixture
def packets(jit):
    """How many packets make two minutes, or what Python can do."""
    return 45_000 if jit else 9000


def follow(line, times, indices=None):
    indices = range(len(times)) if indices is None else indices
    return np.array([line.observe(int(i), int(t)) for i, t in zip(indices, times, strict=True)])


def ticks(count, ppm, seed=0, jitter_ms=0.0):
    """Times of a clock ``ppm`` too fast, each up to some jitter late."""
    rng = np.random.default_rng(seed)
    return 5_000_000_000 + np.arange(count) * NOMINAL_NS / (1 + 1e-6 * ppm) + rng.exponential(1e6 * jitter_ms, count)


def ppm_of(line):
    return 1e6 * (line.rate - 1)


@pytest.mark.parametrize("ppm", [-300, 0, 100, 300])
@pytest.mark.parametrize("jitter_ms", [0.0, 0.1, 1.0])
def test_it_finds_the_rate(ppm, jitter_ms):
    line = Timeline(NOMINAL_NS)
    seconds = 15
    follow(line, ticks(round(seconds * 375), ppm, 1, jitter_ms))
    assert ppm_of(line) == pytest.approx(ppm, abs=0.5 + 15 * jitter_ms)


def test_it_follows_the_earliest_times_not_the_mean(packets):
    """Delays beyond the line are what was put on top of the fastest, but for how rare the very fastest are."""
    delay_ns = np.random.default_rng(2).exponential(1e6, packets)
    line = Timeline(NOMINAL_NS)
    late_ns = follow(line, ticks(packets, 50) + delay_ns)
    settled = slice(packets // 2, None)
    error_ms = 1e-6 * (late_ns - delay_ns)[settled]
    assert np.abs(error_ms).max() < 0.25
    assert np.abs(error_ms).mean() < 0.1


def test_losses_leave_the_rate_alone(packets):
    count = packets // 2
    arrived = np.random.default_rng(3).random(count) > 0.5
    arrived[count // 3 : count // 3 + 400] = False
    line = Timeline(NOMINAL_NS)
    follow(line, ticks(count, 200, 4, 0.2)[arrived], np.flatnonzero(arrived))
    assert ppm_of(line) == pytest.approx(200, abs=10)


@pytest.mark.parametrize("step_ms", [-30, -3, 3, 30])
def test_another_route_is_a_step_not_a_drift(step_ms):
    """The rate hardly moves, and the line lies on the new route within a second."""
    count, at = 12_000, 8000
    times = ticks(count, 100, 5, 0.1)
    times[at:] += 1e6 * step_ms
    line = Timeline(NOMINAL_NS)
    follow(line, times[:at])
    moved = []
    for index in range(at, count):
        line.observe(index, int(times[index]))
        moved.append(ppm_of(line))
        if index == at + 375:
            assert 1e-6 * (times[index] - line.expected_ns(index)) == pytest.approx(0, abs=0.9)
    assert np.abs(np.array(moved) - 100).max() < 12


def test_a_queue_that_drains_within_a_block_is_no_step():
    times = ticks(8000, 0, 6, 0.1)
    times[6000:6030] = np.maximum(times[6000:6030], times[6030])  # held back, then all at once
    line = Timeline(NOMINAL_NS)
    late_ns = follow(line, times)
    assert late_ns[6000] > 50e6
    assert np.abs(late_ns[6100:]).max() < 2e6


def test_a_queue_that_fills_and_drains_is_no_other_clock():
    """30 ms more within 5 s, and back: as if the clocks were 6000 ppm apart, for the rate's first impression."""
    count = 30_000
    times = ticks(count, 100, 9, 0.3)
    seconds = np.arange(count) / 375
    times += 1e6 * np.interp(seconds, [40, 45, 60, 65], [0, 30, 30, 0])
    line = Timeline(NOMINAL_NS)
    follow(line, times[: 15 * 375])
    rates = []
    for index in range(15 * 375, count):
        line.observe(index, int(times[index]))
        rates.append(ppm_of(line))
    assert np.abs(np.array(rates) - 100).max() < 20


@pytest.mark.parametrize("ppm", [-250, 80])
def test_another_clock_is_found_even_without_a_restart(ppm):
    """A device that is plugged in anew goes on in the same stream."""
    before, after = ticks(40 * 375, 150, 10, 0.1), ticks(120 * 375, ppm, 11, 0.1)
    times = np.concatenate((before, after - after[0] + before[-1] + NOMINAL_NS))
    line = Timeline(NOMINAL_NS)
    follow(line, times)
    assert ppm_of(line) == pytest.approx(ppm, abs=20)


def test_periods_counted_in_samples():
    """Our own device: the index is in samples, a tick is a period of 64 of them."""
    rng = np.random.default_rng(7)
    line = Timeline(1e9 / 48_000, 1 / 64)
    index = 64 * np.arange(15_000)
    follow(line, index * 1e9 / 48_000 / (1 - 80e-6) + rng.exponential(0.1e6, len(index)), index)
    assert ppm_of(line) == pytest.approx(-80, abs=3)


def test_uptimes_of_months_do_not_blunt_it():
    """Absolute times and numbers may be large: what counts is what happened since the start."""
    line, shifted = Timeline(NOMINAL_NS), Timeline(NOMINAL_NS)
    times = ticks(4000, 300, 8, 0.3).astype(np.int64)
    near = follow(line, times)
    far = follow(shifted, times + 10**17, np.arange(4000) + 10**12)
    np.testing.assert_allclose(near, far, atol=1e-3)


def test_a_young_line_says_so():
    line = Timeline(NOMINAL_NS)
    assert line.blocks == -1
    assert line.rate == 1
    follow(line, ticks(800, 0))
    assert 15 <= line.blocks <= 25
    line.reset()
    assert line.blocks == -1
