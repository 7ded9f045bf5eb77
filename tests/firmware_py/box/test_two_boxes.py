"""Two boxes on loopback, and a network between them that does everything that networks do.

What is heard must equal what the simulator makes of the same losses, sample for sample.
"""

import numpy as np
import pytest

from continuo.firmware_py.audio_file import Audio
from continuo.firmware_py.box.memory import LOST
from continuo.firmware_py.rt.timing import Cause, Rung
from continuo.firmware_py.simulate import simulate

SECONDS = 30
DAMAGE = {"drop": 0.02, "stay": 0.5, "corrupt": 0.005, "duplicate": 0.02, "jitter_ms": 3.0, "reorder": 0.02}


def music(card, seconds, channels, seed=0):
    """What the card captures, exact in 16 bits: as it is on the wire."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * 48_000))[:, np.newaxis]
    swell = 0.6 + 0.4 * np.sin(2e-5 * t)
    notes = sum(np.sin(0.01 * k * t * [1.0, 1.01][:channels] + k) / k for k in (1, 2, 3, 5, 8))
    x = 0.25 * swell * notes + rng.normal(0, 3e-3, (len(t), channels))
    x16 = np.clip(np.rint(x * 32_768), -32_768, 32_767)
    card.will_capture(x16.astype("<i4") * 65_536)
    return (x16 / 32_768).astype(np.float32)


def follow(box, seconds, tick=lambda: None):
    """Let it play, taking what it records; return numbers, lost, received and played."""
    taken = [[], [], [], []]
    until = box.count("PLAYED") + round(seconds * 48_000 / box.spec.packet_samples)

    def take():
        for whole, new in zip(taken, box.played(), strict=True):
            whole.extend(new)
        tick()
        return box.count("PLAYED") >= until

    box.until(take, timeout_s=3 * seconds + 30)
    numbers, flags, received, played = taken
    whole = min(len(received), len(played))
    lost = np.array(flags[:whole]) & LOST != 0
    return np.array(numbers[:whole]), lost, np.array(received[:whole]), np.array(played[:whole])


def compare_with_simulate(box, lost, received, played, rows):
    """Which packets are not the simulator's, bit for bit; and which may not be, as this busy machine missed a deadline.

    Then the ladder plays what it has, until the burst and the crossfade after it are over. With a refiner, so it does
    when only the prediction was ready.
    """
    samples = received.reshape(-1, box.spec.channels)
    audio = Audio(samples, box.spec.sample_rate_hz, "FLOAT", "WAV")
    simulated = simulate(audio, lost, box.method.name, box.spec.packet_samples)
    differs = np.any(simulated.concealed.reshape(played.shape) != played, axis=(1, 2))
    excused, missed = np.zeros(len(lost) + 1, bool), rows["deadline_missed"][: len(lost)].astype(bool)
    if box.method.refiner is not None:
        missed |= (simulated.rows["rung"] == Rung.LITE) & (rows["rung"][: len(lost)] == Rung.LPC)
    for index in range(len(lost)):
        excused[index] |= bool(missed[index])
        if excused[index] and lost[index]:
            excused[index + 1] = True
    return differs, excused[:-1]


def check_equals_simulate(box, lost, received, played, rows):
    differs, excused = compare_with_simulate(box, lost, received, played, rows)
    assert not np.any(differs & ~excused), np.flatnonzero(differs & ~excused)[:10]
    assert rows["deadline_missed"][: len(lost)].sum() < 0.5 * lost.sum()


@pytest.mark.parametrize(
    ("packet_samples", "channels", "method"), [(128, 1, "lpc"), (512, 2, "lpc"), (512, 1, "lite-int8")]
)
def test_what_is_heard_equals_the_simulator(boxes, relay, packet_samples, channels, method):
    network = relay(**DAMAGE)
    stream = {"packet_samples": packet_samples, "channels": channels}
    playout = {"fixed_packets": 8 if packet_samples == 128 else 3}
    near, far = (
        boxes(
            name, stream=stream, playout=playout, conceal={"method": method},
            net={"peer_host": "127.0.0.1", "peer_port": network.ports[side]},
        )
        for side, name in enumerate(("near", "far"))
    )  # fmt: skip
    sent = music(near.card, SECONDS + 60, channels)
    sent = sent[: len(sent) // packet_samples * packet_samples].reshape(-1, packet_samples, channels)
    network.connect(near.port, far.port)
    near.start(wait=False)
    far.start()
    near.until(near.is_at_work)
    far.until_playing()
    numbers, lost, received, played = follow(far, SECONDS / 2)
    counts, counts_near = far.counts(), near.counts()
    assert far.stop() == near.stop() == 0
    rows = far.rows()
    np.testing.assert_array_equal(rows["sequence"][: len(numbers)], numbers)
    check_equals_simulate(far, lost, received, played, rows)
    searches, merged = check_content(sent, numbers, lost, received)
    assert searches <= 1 + counts_near.get("XRUNS_CAPTURE", 0) + counts_near.get("XRUNS_PLAYBACK", 0)
    assert merged <= counts.get("DROPPED", 0)
    check_losses(network, numbers, lost, counts)
    rungs = rows["rung"][: len(lost)][lost].tolist()
    assert set(rungs) <= {Rung.LPC, Rung.FADE, Rung.REPEAT} | ({Rung.LITE} if method == "lite-int8" else set())
    if method == "lite-int8":  # most refinements are ready in time
        assert rungs.count(Rung.LITE) > 0.5 * len(rungs), counts
        assert counts.get("REFINED_SLOWLY", 0) < 0.1 * len(rungs)
    network_or_us = {Cause.NETWORK_LOST, Cause.NETWORK_LATE, Cause.CPU_DEADLINE, Cause.DEVICE_XRUN, Cause.INSERTED}
    assert set(rows["cause"][: len(lost)]) <= {Cause.NONE} | network_or_us


def check_content(sent, numbers, lost, received):
    """What was received is what was sent, and in its place: each packet goes on where the one before ended.

    Where the near card captured from at first is not known, nor where it goes on when it ran over. The jitter buffer
    may have merged two packets into one.
    """
    flat, packet_samples = sent.reshape(-1, sent.shape[-1]), received.shape[1]
    place, number, searches, merged = -1, 0, 0, 0
    for n, packet in zip(numbers[~lost].tolist(), received[~lost], strict=True):
        if not packet.any():  # before the card's first period
            continue
        expected = place + (n - number) * packet_samples
        if not np.array_equal(flat[expected : expected + packet_samples], packet):
            starts = np.flatnonzero((flat[:-packet_samples] == packet[0]).all(axis=1))
            places = [start for start in starts if np.array_equal(flat[start : start + packet_samples], packet)]
            if not places:
                merged += 1
                continue
            expected, searches = int(places[0]), searches + 1
        place, number = expected, n
    return searches, merged


def check_losses(network, numbers, lost, counts):
    """Nothing is lost beyond what the relay took, nor played that it took.

    An inserted packet has the number of the one that plays next. After the stream was taken up anew (on a machine that
    stood still for a second) the numbers are no longer the relay's.
    """
    if counts.get("RESTARTS", 0):
        return
    inserted = lost & (np.append(numbers[1:], -1) == numbers)
    taken, passed = set(network.taken[0]), set(network.passed[0])
    beyond = [n for n in numbers[lost & ~inserted].tolist() if n in passed]
    assert len(beyond) <= counts.get("LATE", 0), (len(beyond), counts)
    assert not taken.intersection(numbers[~lost].tolist())
    assert counts.get("LATE", 0) < 0.01 * len(lost)
