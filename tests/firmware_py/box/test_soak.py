"""Ten minutes at a time: `make soak` runs these and keeps what they print in docs/soak.log.

CONTINUO_SOAK_SECONDS makes them shorter.
"""

import importlib.util
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import get_window

from continuo.firmware_py.audio.reference import run_reference
from continuo.firmware_py.control.config import AudioConfig, StreamConfig
from continuo.firmware_py.rt.timing import Cause

pytestmark = pytest.mark.slow

SECONDS = float(os.environ.get("CONTINUO_SOAK_SECONDS", "600"))
RATE_HZ = 48_000

_spec = importlib.util.spec_from_file_location("two_boxes", Path(__file__).with_name("test_two_boxes.py"))
two_boxes = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(two_boxes)


@pytest.fixture
def idle_loop(timed_cards):
    """idle_loop() starts a loop without work, on a card and with the settings of a box's: call what it returns for its
    report. What that misses in these minutes, the machine misses.
    """
    timed_cards.add("idle")
    with ThreadPoolExecutor(1) as pool:

        def start():
            audio, stream = AudioConfig(device="idle", periods=4), StreamConfig(packet_samples=128)
            return pool.submit(run_reference, audio, stream, SECONDS).result

        yield start


def say(capsys, text):
    with capsys.disabled():
        print(text)  # noqa: T201


def test_music_through_everything_a_network_does(boxes, relay, idle_loop, capsys):
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
    idle_report = idle_loop()
    numbers, lost, received, played = two_boxes.follow(far, SECONDS)
    counts, near_counts = far.counts(), near.counts()
    assert far.stop() == near.stop() == 0
    idle = idle_report()
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
        f"  audio thread, time per packet: {_percentiles(rows['crossfade_ns'])}; periods overrun "
        f"{counts.get('PERIODS_OVERRUN', 0)}\n  {_idle(idle)}",
    )
    assert not np.any(differs & ~excused)
    assert counts.get("PERIODS_OVERRUN", 0) <= idle.overruns + idle.late_wakes
    assert not counts.get("RESTARTS", 0)  # else the numbers would not be the relay's, and the next line would be empty
    two_boxes.check_losses(network, numbers, lost, counts)


@pytest.mark.parametrize("ppm", [300, 100])
def test_clocks_apart(boxes, idle_loop, capsys, ppm):
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
    idle_report, until = idle_loop(), far.count("PLAYED") + round(SECONDS * RATE_HZ / 128)
    far.until(lambda: far.count("PLAYED") >= until, 2 * SECONDS + 60)
    counts, near_counts = far.counts(), near.counts()
    assert far.stop() == near.stop() == 0
    idle, rows = idle_report(), far.rows()
    heard = far.card.played()[:, 0].astype(np.float64) / (1 << 31)
    begins, pitch_cents, noise_db, unfitted_db = sine_quality(heard, 1000 * (1 + 1e-6 * ppm))
    undisturbed = plain_windows(begins, heard, rows, near.rows())
    settled = rows["depth_samples"][len(rows) // 4 :]
    p1, p99 = np.percentile(settled, [1, 99])
    say(
        capsys,
        f"\nclocks {ppm} ppm apart, {SECONDS:.0f} s: estimated {counts.get('DRIFT_PPB', 0) / 1000:.1f} ppm; "
        f"replaced {counts.get('CONCEALED', 0)} (inserted {counts.get('INSERTED', 0)}, merged "
        f"{counts.get('DROPPED', 0)}), xruns {_xruns(counts)}, at the peer {_xruns(near_counts)}\n"
        f"  {_idle(idle)}\n"
        f"  depth {settled.min()} to {settled.max()} samples (p1 {p1:.0f}, p99 {p99:.0f})\n"
        f"  1 kHz in {len(noise_db)} windows of 1 s, {int(undisturbed.sum())} of them undisturbed by their rows: pitch "
        f"off by {_two(pitch_cents[undisturbed], 4)} cents\n"
        f"  THD+N, all but +-20 Hz around the tone: {_two(noise_db[undisturbed], 1)} dB; left by a fit whose pitch may "
        f"bend evenly: {_two(unfitted_db[undisturbed], 1)} dB",
    )
    assert abs(counts["DRIFT_PPB"] / 1000 - ppm) < 0.1 * ppm + 20
    assert undisturbed.sum() > 0.5 * len(undisturbed)
    assert pitch_cents[undisturbed].max() < 1
    assert noise_db[undisturbed].max() < -80
    assert np.percentile(unfitted_db[undisturbed], 90) < -80
    assert p99 - p1 < 8 * 128
    assert _xruns(counts) <= idle.xruns_capture + idle.xruns_playback + idle.late_wakes


def sine_quality(heard, expected_hz):
    """Per second: where it begins, how far the pitch is off in cents, THD+N, and what is left beside a bent sine.

    THD+N is everything beyond 20 Hz of the tone, in dB below it: harmonics, noise, clicks, and any wobble faster than
    that (AES17's notch is wider). The last one takes in the slowest wobble too: all that is not a sine whose frequency
    moves evenly over the second.
    """
    start = int(np.flatnonzero(np.abs(heard) > 0.1)[0]) + 10 * RATE_HZ  # once the ratio is found
    t = (np.arange(RATE_HZ) - RATE_HZ / 2) / RATE_HZ
    taper, tone = get_window(("kaiser", 20.0), RATE_HZ), slice(980, 1021)  # its side lobes are 150 dB down
    found = []
    for begin in range(start, len(heard) - 2 * RATE_HZ, RATE_HZ):
        window = heard[begin : begin + RATE_HZ]
        hz, bend = expected_hz, 0.0
        for _ in range(6):  # Gauss-Newton on frequency and its slope: the ratio moves slowly
            phase = 2 * np.pi * (hz * t + 0.5 * bend * t**2)
            c, s = np.cos(phase), np.sin(phase)
            basis = np.stack((c, s, t * c, t * s, t**2 * c, t**2 * s), axis=1)
            fit, *_ = np.linalg.lstsq(basis, window, rcond=None)
            power = max(fit[0] ** 2 + fit[1] ** 2, 1e-12)
            hz += (fit[1] * fit[2] - fit[0] * fit[3]) / power / (2 * np.pi)
            bend += (fit[1] * fit[4] - fit[0] * fit[5]) / power / np.pi
        spectrum = np.abs(np.fft.rfft(window * taper)) ** 2
        beside = spectrum.sum() - spectrum[tone].sum()
        rest = np.mean((window - basis @ fit) ** 2)
        cents = abs(1200 * np.log2(max(hz, 1.0) / expected_hz))
        found.append((begin, cents, _db(beside / spectrum[tone].sum()), _db(rest / (0.5 * power))))
    return np.array(found).T


def plain_windows(begins, heard, rows, near_rows):
    """Which seconds hold nothing but packets played as they came, by the timing logs of both boxes.

    Half a second on either side is looked at too: an xrun moves what follows by some ms.
    """
    plain = (rows["lost"] == 0) & (rows["xrun"] == 0) & (np.diff(rows["sequence"], append=-1) == 1)
    plain[-1] = True
    came_ns = np.maximum.accumulate(near_rows["arrival_ns"])
    for at_ns in came_ns[near_rows["xrun"] != 0]:  # what the peer did not capture is no row of ours
        plain &= np.abs(np.maximum.accumulate(rows["arrival_ns"]) - at_ns) > 1e9
    start = int(np.flatnonzero(np.abs(heard) > 0.1)[0])
    of = [(int((begin - start + side * RATE_HZ) // 128)) for begin in begins for side in (-0.5, 1.5)]
    return np.array([plain[max(0, a) : b].all() for a, b in zip(of[::2], of[1::2], strict=True)])


def _db(ratio):
    return 10 * np.log10(max(ratio, 1e-30))


def _idle(report):
    return (
        f"loop that does nothing, meanwhile: xruns {report.xruns_capture + report.xruns_playback}, late wakes "
        f"{report.late_wakes}, periods overrun {report.overruns}"
    )


def _xruns(counts):
    return counts.get("XRUNS_CAPTURE", 0) + counts.get("XRUNS_PLAYBACK", 0)


def _percentiles(times_ns):
    p50, p99, p999 = np.percentile(times_ns, [50, 99, 99.9]) / 1000
    return f"p50 {p50:.0f}, p99 {p99:.0f}, p99.9 {p999:.0f} us"


def _two(values, digits):
    p50, p99 = np.percentile(values, [50, 99])
    return f"p50 {p50:.{digits}f}, p99 {p99:.{digits}f}, worst {np.max(values):.{digits}f}"
