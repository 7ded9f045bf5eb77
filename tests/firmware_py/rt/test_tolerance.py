import numpy as np
import pytest

from continuo.firmware_py.errors import InputError
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.tolerance import Tolerance

SPEC = StreamSpec(48_000, 128, 1)
SECOND = 1_000_000_000


@pytest.fixture
def rate(jit):
    """Packets per second: fewer where Python has to do it."""
    return 375 if jit else 60


def made(tightness=0.5, cap_packets=128):
    tolerance = Tolerance()
    tolerance.prepare(SPEC, tightness, cap_packets)
    return tolerance


def feed(tolerance, rate, start_s, stop_s, delay_ms):
    """Delays in ms from a function of a random generator."""
    rng = np.random.default_rng(round(start_s))
    history = []
    for k in range(round(start_s * rate), round(stop_s * rate)):
        tolerance.observe(k * SECOND // rate, 1e6 * delay_ms(rng))
        history.append(1e-6 * tolerance.tolerance_ns)
    return np.array(history)


def calm(rng):
    return rng.exponential(0.2)


def wild(rng):
    return rng.exponential(4.0)


def constant(delay_ms):
    return lambda rng: delay_ms


@pytest.mark.parametrize(
    ("tightness", "allowed", "headroom_ms"), [(0, 1e-4, 2.0), (0.5, 1.778e-3, 0.5), (1, 0.0316, 0.0)]
)
def test_it_is_the_quantile_that_the_tightness_asks_for(tightness, allowed, headroom_ms, rate):
    tolerance = made(tightness)
    rng = np.random.default_rng(0)
    count = round(tolerance.window_s) * rate
    delays_ms = rng.exponential(1.0, count)
    for k, delay_ms in enumerate(delays_ms):
        tolerance.observe(k * SECOND // rate, 1e6 * delay_ms)
    last = delays_ms[-round((tolerance.window_s - 2) * rate) :]
    expected_ms = np.sort(last)[-1 - int(allowed * len(last))]
    assert 1e-6 * tolerance.tolerance_ns - headroom_ms == pytest.approx(expected_ms, abs=0.7)


def test_tighter_is_never_longer(rate):
    tolerance = made()
    feed(tolerance, rate, 0, 10, lambda rng: rng.exponential(2.0))
    recommended = []
    for tightness in np.linspace(0, 1, 11):
        tolerance.set_tightness(tightness)
        recommended.append(tolerance.tolerance_ns)
    assert (np.diff(recommended) <= 0).all()
    assert recommended[-1] < 0.7 * recommended[0]


@pytest.mark.parametrize("tightness", [0, 0.5, 1])
def test_it_rises_within_a_second_and_comes_down_when_the_bad_spell_leaves_the_window(tightness, rate):
    tolerance = made(tightness)
    before = feed(tolerance, rate, 0, 10, calm)[-1]
    bad = feed(tolerance, rate, 10, 14, wild)
    assert bad[rate] > before + 1
    remembered = feed(tolerance, rate, 14, 9.5 + tolerance.window_s, calm)
    assert remembered.size == 0 or remembered[-1] > before + 1
    after = feed(tolerance, rate, max(14, 9.5 + tolerance.window_s), 18 + tolerance.window_s, calm)
    assert after[-1] == pytest.approx(before, abs=0.8)


def test_a_single_stray_packet_changes_nothing_once_there_is_evidence(rate):
    tolerance = made(0.5)
    before = feed(tolerance, rate, 0, 22, calm)[-1]
    tolerance.observe(22 * SECOND, 50e6)
    assert 1e-6 * tolerance.tolerance_ns == pytest.approx(before, abs=0.5)


def test_delays_that_no_buffer_would_wait_for_do_not_count(rate):
    tolerance = made(0, cap_packets=8)
    feed(tolerance, rate, 0, 4, calm)
    before = tolerance.tolerance_ns
    feed(tolerance, rate, 4, 6, constant(9 * 1e-6 * SPEC.packet_ns))
    assert tolerance.tolerance_ns <= before
    feed(tolerance, rate, 6, 8, constant(7 * 1e-6 * SPEC.packet_ns))
    assert tolerance.tolerance_ns <= 8 * SPEC.packet_ns


@pytest.mark.parametrize("shift_ms", [-50.0, -3.0, 0.0, 3.0, 20.0])
def test_a_line_that_moves_leaves_the_recommended_time_where_it_is(shift_ms, rate):
    """Delays are measured from the fastest; when that changes, when to play does not. The past moves along."""
    tolerance = made(0.5)
    before = feed(tolerance, rate, 0, 5, lambda rng: rng.uniform(4.0, 6.0))[-1]
    tolerance.shift(1e6 * shift_ms)
    assert 1e-6 * tolerance.tolerance_ns == pytest.approx(before - shift_ms, abs=0.2)
    after = feed(tolerance, rate, 5, 10, lambda rng: rng.uniform(4.0, 6.0) - shift_ms)
    assert after[-1] == pytest.approx(before - shift_ms, abs=0.3)
    if abs(shift_ms) < 10:
        tolerance.shift(-1e6 * shift_ms)
        assert 1e-6 * tolerance.tolerance_ns == pytest.approx(before, abs=0.4)


def test_it_begins_on_the_safe_side():
    for tightness, least_ms in ((0, 10), (0.5, 5), (1, 0.1)):
        tolerance = made(tightness)
        for k in range(50):
            tolerance.observe(k * SECOND // 375, 0.0)
        assert 1e-6 * tolerance.tolerance_ns >= least_ms
        assert 1e-6 * tolerance.tolerance_ns < least_ms + 3


def test_a_pause_does_not_confuse_it(rate):
    tolerance = made(0.5)
    feed(tolerance, rate, 0, 4, calm)
    feed(tolerance, rate, 5000, 5001, calm)
    feed(tolerance, rate, 5001, 5030, constant(0.0))
    assert 1e-6 * tolerance.tolerance_ns < 1


def test_early_and_absurd_delays_are_harmless():
    tolerance = made()
    for delay_ns in (-1e18, -1.0, 0.0, 1e18, float("inf")):
        tolerance.observe(0, delay_ns)
    assert 0 < tolerance.tolerance_ns < SECOND


@pytest.mark.parametrize("tightness", [-0.1, 1.1, float("nan")])
def test_a_tightness_out_of_range_is_refused(tightness):
    with pytest.raises(InputError, match="tightness"):
        made(tightness)
