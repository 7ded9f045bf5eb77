import gc
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from continuo.firmware_py.audio.duplex import DuplexInfo, IoStatus
from continuo.firmware_py.rt.counters import AudioCounter, new_audio_counters

OK, XRUN, ABSENT, BACK = IoStatus.OK, IoStatus.XRUN, IoStatus.ABSENT, IoStatus.BACK
TRIES = 5
"""A machine that is busy otherwise may spoil some: then there is an xrun, and no more to compare."""
BITS = {"S32_LE": 32, "S24_3LE": 24, "S24_LE": 24, "S16_LE": 16}


def counts(duplex):
    names = ("XRUNS_CAPTURE", "XRUNS_PLAYBACK", "DEVICE_LOST", "DEVICE_REOPENED")
    return [int(duplex.counters[AudioCounter[name]]) for name in names]


def noise(count, channels=1, bits=24, seed=0):
    """Integers of 24 bits at most: float32 holds them exactly."""
    top = 1 << min(bits, 24) - 1
    return np.random.default_rng(seed).integers(-top, top, (count, channels)) << max(0, bits - 24)


@pytest.mark.parametrize(
    ("rate", "packet", "channels", "format_name"),
    [(48_000, 256, 1, "S32_LE"), (44_100, 512, 2, "S16_LE"), (96_000, 480, 8, "S24_LE"), (22_050, 333, 3, "S32_LE")],
)
def test_every_sample_both_ways(timed_cards, open_duplex, loop_of, rate, packet, channels, format_name):
    """What the card's input hears is captured, and what is played is heard after the device's buffer, bit for bit."""
    card = timed_cards.add("card", format=format_name)
    heard, played = (noise(18 * packet, channels, BITS[format_name], seed) for seed in (1, 2))
    card.will_capture(heard, format_name)
    full_scale = 1 << BITS[format_name] - 1
    for _ in range(TRIES):
        card.forget_played()
        duplex = open_duplex("card", rate, packet, channels)
        loop = loop_of(duplex, channels)
        loop.run(18, (played / full_scale).astype(np.float32))
        duplex.close()
        if not any(counts(duplex)):
            break
    assert counts(duplex) == [0, 0, 0, 0]
    assert (duplex.info.capture_format, duplex.info.playback_format) == (format_name, format_name)
    np.testing.assert_array_equal(loop.heard, (heard / full_scale).astype(np.float32))
    out = card.played(channels, format_name)
    assert duplex.latency_samples == 12 * packet
    assert not out[: 12 * packet].any()
    count = len(out) - 12 * packet
    assert count >= 5 * packet
    np.testing.assert_array_equal(out[12 * packet :], played[:count])


def test_packed_24_bits(timed_cards, open_duplex, loop_of):
    card = timed_cards.add("card", format="S24_3LE")
    samples = noise(1024)
    card.will_capture((samples.astype("<i4")).view(np.uint8).reshape(-1, 4)[:, :3], "S24_3LE")
    duplex = open_duplex("card")
    assert duplex.info.capture_format == "S24_3LE"
    loop = loop_of(duplex)
    loop.run(4)
    np.testing.assert_array_equal(loop.heard[:, 0], (samples[:, 0] / (1 << 23)).astype(np.float32))


@pytest.mark.parametrize("periods", [7, 12])
def test_the_loop_delays_by_the_device_buffer(timed_cards, open_duplex, loop_of, periods):
    """A click handed over in one turn is captured `latency_samples` later, give or take when the directions began."""
    timed_cards.add("card", loopback=True, delay=20)
    click = np.zeros((600, 1), np.float32)
    click[570] = 0.5
    for _ in range(TRIES):
        duplex = open_duplex("card", packet=512, periods=periods)
        loop = loop_of(duplex)
        loop.run(15, click)
        duplex.close()
        if not any(counts(duplex)):
            break
    assert counts(duplex) == [0, 0, 0, 0]
    (found,) = np.flatnonzero(loop.heard)
    began_apart = 570 + duplex.latency_samples + 20 - found
    assert 0 <= began_apart < 512


@pytest.mark.parametrize("at_fault", ["both", "playback"])
def test_an_xrun_is_counted_and_the_delay_is_the_same_after_it(timed_cards, open_duplex, loop_of, at_fault):
    timed_cards.add("card", loopback=True)
    duplex = open_duplex("card", packet=512)
    loop = loop_of(duplex)
    click = np.zeros((512, 1), np.float32)
    click[100] = 0.5
    loop.run(14, click)
    (before,) = np.flatnonzero(loop.heard)
    stall_s = 2 * duplex.latency_samples / 48_000
    if at_fault == "both":
        time.sleep(stall_s)
        loop.run(1)
        assert loop.statuses[-1] == (XRUN, OK)
        assert counts(duplex)[0] == 1
    else:
        block, quiet = np.zeros((512, 1), np.float32), np.zeros((512, 1), np.float32)
        assert duplex.capture_into(block) == OK
        time.sleep(stall_s)
        assert duplex.play_from(quiet) == XRUN
        assert duplex.capture_into(block) == OK
        assert duplex.play_from(quiet) == OK
        assert counts(duplex)[1] == 1
    again = loop_of(duplex)
    again.run(14, click)
    (after,) = np.flatnonzero(again.heard)
    assert set(again.statuses) == {(OK, OK)}
    assert abs(int(after) - int(before)) < 512  # the directions do not begin at the very same moment


def test_an_xrun_behind_a_converter(timed_cards, open_duplex, loop_of):
    """ALSA's converters say that nothing is there to be read, not that their device overran."""
    timed_cards.add("card", channels=2)
    duplex = open_duplex("plug:card")
    loop = loop_of(duplex)
    for _ in range(2):
        loop.run(3)
        time.sleep(2 * duplex.latency_samples / 48_000)
        loop.run(1)
        assert loop.statuses[-1] == (XRUN, OK)
    assert counts(duplex)[0::2] == [2, 0]


@pytest.mark.parametrize("where", ["before capturing", "before playing"])
def test_how_much_passed_unheard_is_told(timed_cards, open_duplex, where):
    """The card's input goes on meanwhile, so its clock tells the truth."""
    card = timed_cards.add("card")
    card.will_capture(np.arange(1, 96_001)[:, None] << 8)
    duplex = open_duplex("card")
    block, quiet = (np.zeros((256, 1), np.float32) for _ in range(2))
    for _ in range(3):
        assert duplex.capture_into(block) == OK
        duplex.play_from(quiet)
    assert duplex.gap_samples == 0
    if where == "before playing":
        assert duplex.capture_into(block) == OK
    last = round(float(block[-1, 0]) * (1 << 23))
    time.sleep(0.2)
    if where == "before playing":
        assert duplex.play_from(quiet) == XRUN
    assert duplex.capture_into(block) == (OK if where == "before playing" else XRUN)
    gap = round(float(block[0, 0]) * (1 << 23)) - last - 1
    assert gap > 0.15 * 48_000
    assert abs(duplex.gap_samples - gap) < 512
    assert duplex.capture_into(block) == OK
    assert duplex.gap_samples == 0


def test_unplugged_and_back(timed_cards, open_duplex, loop_of):
    """Silence in the device's time while it is away, then music again; nothing is raised."""
    card = timed_cards.add("card")
    card.will_capture(np.full((480_000, 1), 1 << 30))
    duplex = open_duplex("card")
    loop = loop_of(duplex)
    loop.run(5)
    card.unplug()
    begin = time.monotonic()
    loop.run(60)
    away_s = time.monotonic() - begin
    assert not duplex.is_present
    assert "there is no such sound device" in duplex.trouble
    assert counts(duplex)[2:] == [1, 0]
    assert loop.statuses[-1] == (ABSENT, ABSENT)
    assert not loop.captured[-1].any()
    assert away_s > 0.9 * 55 * 256 / 48_000  # it did not spin
    card.plug_in()
    for _ in range(500):
        loop.run(1)
        if duplex.is_present:
            break
    assert BACK in [captured for captured, _ in loop.statuses]
    assert duplex.trouble == ""
    assert counts(duplex)[2:] == [1, 1]
    again = loop_of(duplex)
    again.run(5)
    assert set(again.statuses) == {(OK, OK)}
    assert (again.heard == 0.5).all()


def test_unplugged_while_it_waits(timed_cards, open_duplex):
    card = timed_cards.add("card")
    duplex = open_duplex("card", packet=1024)
    block = np.zeros((1024, 1), np.float32)
    assert duplex.capture_into(block) == OK
    threading.Timer(0.01, card.unplug).start()
    assert duplex.capture_into(block) == ABSENT
    assert duplex.play_from(block) == ABSENT
    duplex.close()
    duplex.close()


def test_a_device_that_stands_still_is_given_up(timed_cards, open_duplex):
    """Its clock has all but stopped: a blocking read would hang for hours."""
    timed_cards.add("card", ppm=-999_990)
    duplex = open_duplex("card")
    block = np.ones((256, 1), np.float32)
    assert duplex.capture_into(block) == ABSENT
    assert not block.any()
    assert counts(duplex)[2] == 1


def test_its_clock_may_be_faster(timed_cards, open_duplex, loop_of):
    """The ppm knob, in its extreme: half as fast again as another card at the same time."""
    timed_cards.add("fast", ppm=200_000)
    timed_cards.add("slow", ppm=-200_000)
    loops = {name: loop_of(open_duplex(name, packet=512)) for name in ("fast", "slow")}
    running = True

    def keep_on(loop):
        while running:
            loop.run(1)

    threads = [threading.Thread(target=keep_on, args=[loop]) for loop in loops.values()]
    for thread in threads:
        thread.start()
    time.sleep(1.0)
    running = False
    for thread in threads:
        thread.join(5)
    done = {name: len(loop.captured) for name, loop in loops.items()}
    assert done["fast"] / done["slow"] == pytest.approx(1.5, rel=0.1)


def test_two_devices(timed_cards, open_duplex, loop_of):
    timed_cards.add("mic").will_capture(np.full((48_000, 1), 1 << 29))
    speaker = timed_cards.add("speaker")
    duplex = open_duplex("default", capture_device="mic", playback_device="speaker")
    assert (duplex.info.capture_device, duplex.info.playback_device) == ("mic", "speaker")
    loop_of(duplex).run(18)
    duplex.close()
    assert set(np.unique(speaker.played())) == {0, 1 << 29}


@pytest.mark.parametrize(
    ("capture", "playback", "two"),
    [
        ("hw:CARD=USB,DEV=0", "hw:CARD=USB,DEV=1", False),
        ("plughw:CARD=USB,DEV=0", "hw:CARD=USB,DEV=0", False),
        ("hw:1,0", "hw:1,1", False),
        ("default", "default", False),
        ("hw:CARD=USB,DEV=0", "hw:CARD=PCH,DEV=0", True),
        ("hw:1,0", "hw:2,0", True),
    ],
)
def test_directions_of_one_card_have_one_clock(capture, playback, two):
    assert DuplexInfo(capture, playback, "S16_LE", "S16_LE", 48_000, 1, 64, 2).two_clocks == two


@pytest.mark.parametrize(("mic_ppm", "speaker_ppm"), [(20_000, -20_000), (-20_000, 20_000)])
def test_two_clocks_cost_an_xrun_now_and_then_and_no_latency(timed_cards, open_duplex, loop_of, mic_ppm, speaker_ppm):
    """A hundred times as far apart as cards are: the buffer of 2048 samples fills or empties in about a second."""
    mic, speaker = timed_cards.add("mic", ppm=mic_ppm), timed_cards.add("speaker", ppm=speaker_ppm)
    mic.will_capture(np.arange(1, 10 * 48_000)[:, np.newaxis] << 8)
    duplex = open_duplex("default", packet=1024, periods=2, capture_device="mic", playback_device="speaker")
    assert duplex.info.two_clocks
    loop, begin = loop_of(duplex), time.monotonic()
    loop.run(round(4 * 48_000 / 1024))
    took_s = time.monotonic() - begin
    xruns = sum(counts(duplex)[:2])
    assert 2 <= xruns <= 4 + took_s * 48_000 * 0.04 / (2048 - 1024)
    assert counts(duplex)[2:] == [0, 0]
    assert ABSENT not in [status for turn in loop.statuses for status in turn]
    captured = np.rint(loop.heard[:, 0] * (1 << 23)).astype(np.int64)
    starts = captured[::1024]
    assert (np.diff(starts) >= 1024).all()  # nothing is captured twice, and what an xrun takes is at most ...
    assert np.diff(starts).max() < 1024 * 5
    duplex.close()
    played = np.rint(speaker.played()[:, 0] / (1 << 8)).astype(np.int64)
    played = played[played > 0]
    assert (np.diff(played) > 0).all()
    assert played[-1] >= captured[-1] - 4 * 1024  # ... and what is heard at last is as recent as at first


def test_a_period_of_its_own(timed_cards, open_duplex):
    timed_cards.add("card")
    duplex = open_duplex("card", packet=512, period_samples=128)
    assert (duplex.period_samples, duplex.latency_samples) == (128, 1536)
    assert duplex.period_ns == round(128e9 / 48_000)


def test_counters_of_somebody_else(timed_cards, open_duplex):
    timed_cards.add("card")
    counters = new_audio_counters()
    duplex = open_duplex("card", counters=counters)
    duplex.capture_into(np.zeros((256, 1), np.float32))
    time.sleep(0.2)
    duplex.capture_into(np.zeros((256, 1), np.float32))
    assert counters[AudioCounter.XRUNS_CAPTURE] == 1


@pytest.mark.parametrize("channels", [1, 2])
def test_nothing_is_allocated_in_the_loop(timed_cards, open_duplex, channels):
    """But the bytes that pyalsaaudio's read returns, one period of them, which go again at once."""
    timed_cards.add("card")
    duplex = open_duplex("card", packet=512, channels=channels)
    block = np.zeros((512, channels), np.float32)
    period_bytes = block.size * 4

    def turn():
        return duplex.capture_into(block), duplex.play_from(block)

    statuses = [turn() for _ in range(4)]
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        turn()
        before = tracemalloc.get_traced_memory()[0]
        peak = 0
        for _ in range(60):
            tracemalloc.reset_peak()
            start = tracemalloc.get_traced_memory()[0]
            turn()
            peak = max(peak, tracemalloc.get_traced_memory()[1] - start)
        growth = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
        gc.enable()
    assert set(statuses) == {(OK, OK)}
    assert growth < 1024
    assert peak < period_bytes + 1024


def descriptors():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_no_descriptor_stays_open(timed_cards, open_duplex, loop_of):
    card = timed_cards.add("card")
    before = descriptors()
    duplex = open_duplex("card")
    loop = loop_of(duplex)
    for _ in range(3):
        loop.run(3)
        card.unplug()
        loop.run(3)
        card.plug_in()
        while not duplex.is_present:
            loop.run(1)
    duplex.close()
    assert descriptors() == before
