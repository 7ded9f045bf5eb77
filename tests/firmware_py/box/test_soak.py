"""Ten minutes at a time: `make soak` runs these and keeps what they print in docs/soak.log.

CONTINUO_SOAK_SECONDS makes them shorter.
"""

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from continuo.firmware_py.rt.timing import Cause

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("CONTINUO_SOAK_SECONDS", "600"))
RATE_HZ = 48_000

_spec = importlib.util.spec_from_file_location("two_boxes", Path(__file__).with_name("test_two_boxes.py"))
two_boxes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(two_boxes)


def say(capsys, text):
    with capsys.disabled():
        print(text)  # noqa: T201


def test_music_through_everything_a_network_does(boxes, relay, capsys):
    """As `test_two_boxes`, ten minutes of it."""
    network = relay(**two_boxes.DAMAGE)
    near, far = (
        boxes(name, playout={"fixed_packets": 8}, net={"peer_host": "127.0.0.1", "peer_port": network.ports[side]})
        for side, name in enumerate(("near", "far"))
    )
    sent = two_boxes.music(near.card, SECONDS + 120, 1)
    network.connect(near.port, far.port)
    near.start(wait=False)
    far.start()
    near.until(near.is_at_work, 180)
    far.until_playing()
    numbers, lost, received, played = two_boxes.follow(far, SECONDS)
    counts, near_counts = far.counts(), near.counts()
    assert far.stop() == near.stop() == 0
    rows = far.rows()[: len(numbers)]
    np.testing.assert_array_equal(rows["sequence"], numbers)
    differs, excused = two_boxes.compare_with_simulate(far, lost, received, played, rows)
    searches, merged = two_boxes.check_content(sent.reshape(-1, 128, 1), numbers, lost, received)
    causes = {cause.name.lower(): int((rows["cause"] == cause).sum()) for cause in Cause}
    say(
        capsys,
        f"\nmusic, {SECONDS:.0f} s of packets of 128 at 48 kHz through {two_boxes.DAMAGE}\n"
        f"  packets {len(numbers):,}, replaced {int(lost.sum()):,}; causes {causes}\n"
        f"  relay: passed {len(network.passed[0]):,}, took {len(network.taken[0]):,}\n"
        f"  packets that differ from `continuo simulate`: {int(differs.sum())}, of these in bursts with a missed "
        f"deadline: {int((differs & excused).sum())}\n"
        f"  deadline misses {counts.get('DEADLINE_MISSES', 0)}, xruns here {_xruns(counts)}, at the peer "
        f"{_xruns(near_counts)}; merged {merged}, gaps of the peer's card {searches - 1}\n"
        f"  audio thread, time per packet: {_percentiles(rows['crossfade_ns'])}",
    )
    assert not np.any(differs & ~excused)
    two_boxes.check_losses(network, numbers, lost, counts)


@pytest.mark.parametrize("ppm", [300, 100])
def test_clocks_apart(boxes, capsys, ppm):
    """The peer's clock is fast by 300 or 100 ppm: a 1 kHz sine of it keeps its pitch, and the buffer its depth."""
    stream, playout = {"packet_samples": 128}, {"drift": True, "fixed_packets": 8}
    near, far = (
        boxes(name, {"ppm": card_ppm}, stream=stream, playout=playout, net={"bits": 24})
        for name, card_ppm in (("near", ppm), ("far", 0))
    )
    for one, other in ((near, far), (far, near)):
        one.write({"net": {"peer_host": "127.0.0.1", "peer_port": other.port}})
    sine = 0.5 * np.sin(2 * np.pi * 1000 / RATE_HZ * np.arange(round((SECONDS + 120) * RATE_HZ)))
    near.card.will_capture(np.rint(sine * (1 << 23)).astype(np.int64)[:, np.newaxis] << 8)
    near.start(wait=False)
    far.start()
    near.until(near.is_at_work, 180)
    far.until_playing()
    depths, until = [], far.count("PLAYED") + round(SECONDS * RATE_HZ / 128)

    def look():
        depths.append(far.count("DEPTH_SAMPLES_NOW"))
        return far.count("PLAYED") >= until

    far.until(look, 2 * SECONDS + 60)
    counts = far.counts()
    assert far.stop() == near.stop() == 0
    rows = far.rows()
    heard = far.card.played()[:, 0].astype(np.float64) / (1 << 31)
    pitch_cents, noise_db = sine_quality(heard, 1000 * (1 + 1e-6 * ppm))
    undisturbed = noise_db < -40  # in the others something was replaced, inserted or merged
    settled = rows["depth_samples"][len(rows) // 4 :]
    say(
        capsys,
        f"\nclocks {ppm} ppm apart, {SECONDS:.0f} s: estimated {counts.get('DRIFT_PPB', 0) / 1000:.1f} ppm; "
        f"replaced {counts.get('CONCEALED', 0)} (inserted {counts.get('INSERTED', 0)}, merged "
        f"{counts.get('DROPPED', 0)}), xruns {_xruns(counts)}\n"
        f"  depth {settled.min()} to {settled.max()} samples (p1 {np.percentile(settled, 1):.0f}, p99 "
        f"{np.percentile(settled, 99):.0f})\n"
        f"  1 kHz in {len(noise_db)} windows of 1 s, {int(undisturbed.sum())} of them undisturbed: "
        f"pitch off by {_two(pitch_cents[undisturbed], 4)} cents; THD+N {_two(noise_db[undisturbed], 1)} dB",
    )
    assert abs(counts["DRIFT_PPB"] / 1000 - ppm) < 0.1 * ppm + 20
    middle, end = np.median(settled), np.median(settled[-len(settled) // 3 :])
    assert abs(end - middle) < 4 * 128  # it does not run away; a stall of this machine is worked off again
    assert np.percentile(settled, 99) < 64 * 128
    assert np.percentile(pitch_cents[undisturbed], 99) < 1
    assert np.percentile(noise_db[undisturbed], 90) < -80


def sine_quality(heard, expected_hz):
    """Per second: how far the pitch is off in cents, and all that is not the sine in dB below it."""
    start = int(np.flatnonzero(np.abs(heard) > 0.1)[0]) + 10 * RATE_HZ  # once the ratio is found
    t = (np.arange(RATE_HZ) - RATE_HZ / 2) / RATE_HZ
    cents, noise_db = [], []
    for begin in range(start, len(heard) - 2 * RATE_HZ, RATE_HZ):
        window = heard[begin : begin + RATE_HZ]
        if np.abs(window).max() < 0.1:
            continue
        hz, bend = expected_hz, 0.0
        for _ in range(6):  # Gauss-Newton on frequency and its slope: the ratio moves slowly
            phase = 2 * np.pi * (hz * t + 0.5 * bend * t**2)
            c, s = np.cos(phase), np.sin(phase)
            basis = np.stack((c, s, t * c, t * s, t**2 * c, t**2 * s), axis=1)
            fit, *_ = np.linalg.lstsq(basis, window, rcond=None)
            power = fit[0] ** 2 + fit[1] ** 2
            hz += (fit[1] * fit[2] - fit[0] * fit[3]) / power / (2 * np.pi)
            bend += (fit[1] * fit[4] - fit[0] * fit[5]) / power / np.pi
        rest = window - basis @ fit
        cents.append(abs(1200 * np.log2(hz / expected_hz)))
        noise_db.append(10 * np.log10(np.mean(rest**2) / (0.5 * power)))
    return np.array(cents), np.array(noise_db)


def _xruns(counts):
    return counts.get("XRUNS_CAPTURE", 0) + counts.get("XRUNS_PLAYBACK", 0)


def _percentiles(times_ns):
    p50, p99, p999 = np.percentile(times_ns, [50, 99, 99.9]) / 1000
    return f"p50 {p50:.0f}, p99 {p99:.0f}, p99.9 {p999:.0f} us"


def _two(values, digits):
    p50, p99 = np.percentile(values, [50, 99])
    return f"p50 {p50:.{digits}f}, p99 {p99:.{digits}f}"
