import numpy as np
import pytest

from continuo.firmware_py.confidence import mean_interval, student_t


@pytest.mark.parametrize(
    ("degrees", "table"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (10, 2.2281), (20, 2.0860), (29, 2.0452), (120, 1.9799)],
)
def test_student_t_is_that_of_printed_tables(degrees, table):
    assert student_t(degrees) == pytest.approx(table, abs=5e-5)


def test_student_t_of_another_confidence():
    assert student_t(10, 0.99) == pytest.approx(3.1693, abs=5e-5)


def test_mean_interval_by_hand():
    interval = mean_interval([1.0, None, 2.0, 6.0])
    half = 4.30265 * np.std([1, 2, 6], ddof=1) / np.sqrt(3)
    assert (interval.count, interval.mean, interval.median) == (3, 3.0, 2.0)
    assert interval.high - interval.mean == pytest.approx(half, rel=1e-5)
    assert interval.mean - interval.low == pytest.approx(half, rel=1e-5)


def test_too_little_to_say():
    assert mean_interval([]).mean is None
    assert mean_interval([None]).count == 0
    one = mean_interval([4.0])
    assert (one.mean, one.median, one.low, one.high) == (4.0, 4.0, None, None)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    draws = np.random.default_rng(3).normal(5.0, 2.0, (2000, 6))
    covered = [interval.low <= 5.0 <= interval.high for interval in map(mean_interval, draws)]
    assert 0.93 < np.mean(covered) < 0.97
