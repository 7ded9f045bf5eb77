import pytest

from continuo.firmware_py.audio.reference import ReferenceReport, reference_loop, run_reference
from continuo.firmware_py.control.config import AudioConfig, StreamConfig
from continuo.firmware_py.errors import RunError


def test_in_this_thread(timed_cards, open_duplex):
    card = timed_cards.add("card", loopback=True)
    report = reference_loop(open_duplex("card", packet=512), 0.3, 1)
    assert report.periods == round(0.3 * 48_000 / 512)
    assert report.period_us == pytest.approx(1e6 * 512 / 48_000, abs=0.01)
    assert report.device_lost == 0
    assert report.wake_us["p50"] == pytest.approx(report.period_us, rel=0.5)
    assert report.turn_us["p50"] < report.period_us
    assert list(report.turn_us) == ["p50", "p99", "p99.9", "max"]
    assert len(card.played())


def test_in_a_process_of_its_own(timed_cards):
    timed_cards.add("card", channels=2)
    report = run_reference(AudioConfig(device="card", periods=4), StreamConfig(44_100, 512, 2), 0.3)
    assert isinstance(report, ReferenceReport)
    assert report.periods == round(0.3 * 44_100 / 512)
    assert report.device_lost == 0


def test_its_failure_is_told(timed_cards):
    with pytest.raises(RunError, match=r"the reference loop failed: continuo: .*'nowhere'"):
        run_reference(AudioConfig(device="nowhere"), StreamConfig(), 0.1)
