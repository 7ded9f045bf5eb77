import contextlib

import pytest

from continuo.firmware_py.audio.latency import measure_latency
from continuo.firmware_py.errors import RunError


def measured(duplex, rate, channels):
    """Again, where a machine that is busy otherwise spoilt it."""
    for _ in range(5):
        with contextlib.suppress(RunError):
            return measure_latency(duplex, rate, channels, wait_ms=250)
    return measure_latency(duplex, rate, channels, wait_ms=250)


@pytest.mark.parametrize(("rate", "packet", "channels", "delay"), [(48_000, 512, 1, 0), (44_100, 480, 2, 137)])
def test_periods_and_what_is_beyond(timed_cards, open_duplex, rate, packet, channels, delay):
    """The card's way from output to input is known: what is measured is the device's buffer and that way, but for the
    moment between the starts of the two directions."""
    timed_cards.add("card", loopback=True, delay=delay)
    report = measured(open_duplex("card", rate, packet, channels), rate, channels)
    assert report.device_samples == 12 * packet
    assert delay - packet < report.beyond_samples <= delay
    assert report.round_trip_samples == report.device_samples + report.beyond_samples
    assert report.round_trip_ms == pytest.approx(1e3 * report.round_trip_samples / rate)
    assert (report.spread_samples, report.clicks) == (0, 5)
    assert report.level_db == pytest.approx(0, abs=0.01)


def test_converters_cost_no_latency(timed_cards, open_duplex):
    """A mono stream on a stereo card, 16 bits on 32."""
    timed_cards.add("card", loopback=True, delay=50, channels=2, format="S16_LE")
    duplex = open_duplex("plug:card", 48_000, 512, 1)
    report = measured(duplex, 48_000, 1)
    assert duplex.info.capture_format == "S32_LE"
    assert 50 - 512 < report.beyond_samples <= 50


def test_nothing_comes_back(timed_cards, open_duplex):
    timed_cards.add("card")
    with pytest.raises(RunError, match="0 of 5 clicks came back: connect the output with the input"):
        measure_latency(open_duplex("card", packet=512), 48_000, 1, wait_ms=80)


def test_noise_is_no_click(timed_cards, open_duplex):
    """As loud as the click itself."""
    card = timed_cards.add("card")
    card.will_capture([[1 << 30], [-(1 << 30)]] * 100_000)
    with pytest.raises(RunError, match="0 of 5 clicks came back"):
        measure_latency(open_duplex("card", packet=512), 48_000, 1, wait_ms=80)
