"""A sender, a network and a box's audio thread in virtual time: minutes of packets in seconds (fixture `virtual`)."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from continuo.firmware_py.rt.drift import DriftEstimator
from continuo.firmware_py.rt.playout import Arrival, Playout
from continuo.firmware_py.rt.resampler import Resampler
from continuo.firmware_py.rt.spec import StreamSpec

START_NS = 1_000_000_000
FIRST = 70_000
SPEC = StreamSpec(48_000, 128, 1)
PHASE = 0.37
"""Of our pulls against the sender's packets, in packets."""


@dataclass(frozen=True)
class Network:
    """What happens to packets on their way; probabilities per packet, times in ms."""

    delay_ms: float = 5.0
    jitter_ms: float = 0.0
    """Mean of an exponential delay on top."""
    gaussian_ms: float = 0.0
    """Standard deviation of a delay on top, cut off below 0 (at two deviations)."""
    loss: float = 0.0
    burst: float = 0.0
    """Probability that a loss is followed by another; 0: as any packet."""
    duplicate: float = 0.0
    stall: float = 0.0
    """Probability that the network holds everything back for `stall_ms`, then delivers it at once."""
    stall_ms: float = 0.0
    sender_ppm: float = 0.0
    sender_bunch: int = 1
    """So many packets leave at once."""


def arrivals(network, packets, seed=0, spec=SPEC, first=FIRST, start_ns=START_NS):
    """Times and numbers of what arrives, in order: int64 [shape=(n,)] each."""
    rng = np.random.default_rng(seed)
    sent = np.arange(packets) * packet_ns(spec, network.sender_ppm)
    sent = start_ns + sent[np.arange(packets) // network.sender_bunch * network.sender_bunch]
    way_ms = network.delay_ms + rng.exponential(1.0, packets) * network.jitter_ms
    way_ms += np.maximum(0, rng.normal(2.0, 1.0, packets)) * network.gaussian_ms
    came = sent + 1e6 * way_ms
    for at in np.flatnonzero(rng.random(packets) < network.stall):
        held = (came >= came[at]) & (came < came[at] + 1e6 * network.stall_ms)
        came[held] = came[at] + 1e6 * network.stall_ms
    lost = np.zeros(packets, bool)
    dice = rng.random(packets)
    for j in range(packets):
        lost[j] = dice[j] < (network.burst if j and lost[j - 1] and network.burst else network.loss)
    numbers = np.arange(first, first + packets)
    again = ~lost & (rng.random(packets) < network.duplicate)
    times = np.concatenate((came[~lost], came[again] + rng.exponential(2e6, again.sum())))
    numbers = np.concatenate((numbers[~lost], numbers[again]))
    order = np.argsort(times, kind="stable")
    return times[order].astype(np.int64), numbers[order]


def packet_ns(spec=SPEC, ppm=0.0):
    """Duration of a packet by a clock that is ``ppm`` too fast."""
    return 1e9 * spec.packet_samples / spec.sample_rate_hz / (1 + 1e-6 * ppm)


def make_playout(spec=SPEC, **settings):
    """A prepared playout."""
    playout = Playout()
    playout.prepare(spec, **settings)
    return playout


@dataclass
class Outcome:
    """What a playout did."""

    arrived: Counter = field(default_factory=Counter)
    actions: Counter = field(default_factory=Counter)
    pulls: list = field(default_factory=list)
    """(action, number, second) of every pull that was about a packet."""
    depth_samples: list = field(default_factory=list)
    tolerance_samples: list = field(default_factory=list)
    late_by_ns: list = field(default_factory=list)
    unprepared: int = 0
    """Replacements that nobody was told, a packet before, to make ready."""
    _prepared: bool = True

    def arrive(self, playout, number, arrival_ns):
        kind = playout.arrive(number, arrival_ns, False)
        self.arrived[kind] += 1
        if kind == Arrival.LATE:
            self.late_by_ns.append(playout.late_by_ns)

    def pull(self, playout, now_ns, ahead_samples=0):
        pull = playout.pull(now_ns, ahead_samples)
        self.actions[pull.action] += 1
        if pull.number >= 0:
            self.pulls.append((pull.action, pull.number, pull.second))
            self.depth_samples.append(pull.depth_samples)
            self.tolerance_samples.append(playout.tolerance_samples)
            self.unprepared += not pull.present and not self._prepared
            self._prepared = pull.prepare_next
        else:
            self._prepared = True
        return pull

    def late_share(self):
        return self.arrived[Arrival.LATE] / max(1, self.arrived.total())


def play(playout, times, numbers, pulls, *, spec=SPEC, our_ppm=0.0, wake_ms=0.0, handoff_ms=0.0, start_ns=START_NS,
         before_pull=None):  # fmt: skip
    """Feed arrivals to a prepared playout and pull once per packet: all of them, then up to ``pulls`` in total.

    ``wake_ms``: mean by which our thread wakes late. ``handoff_ms``: how long the network process sits on a packet.
    ``before_pull`` is called with the index of each pull.
    """
    outcome = Outcome()
    wakes = start_ns + (PHASE + np.arange(pulls)) * packet_ns(spec, our_ppm)
    wakes += np.random.default_rng(5).exponential(1.0, pulls) * 1e6 * wake_ms
    wakes = np.maximum.accumulate(wakes).astype(np.int64).tolist()
    times, numbers = times.tolist(), numbers.tolist()
    at = 0
    for index, now_ns in enumerate(wakes):
        while at < len(times) and times[at] + 1e6 * handoff_ms <= now_ns:
            outcome.arrive(playout, numbers[at], times[at])
            at += 1
        if before_pull:
            before_pull(index)
        outcome.pull(playout, now_ns)
    return outcome


@dataclass
class Loop:
    """What a box with a drift resampler did; one value per device period, but for ``played``."""

    outcome: Outcome
    played: np.ndarray
    """float32 [shape=(n,)], first channel."""
    ratio: np.ndarray
    drift_ppm: np.ndarray
    wait_ms: np.ndarray
    """Of the newest packet pulled in the period: from its sending until it sounds, exactly."""


def play_resampled(network, seconds, *, spec=SPEC, period_samples=0, our_ppm=0.0, wake_ms=0.05, handoff_ms=0.05,
                   tone_hz=1000.0, seed=0, **settings):  # fmt: skip
    """Run the box's loop on a tone by the sender's clock. Nothing is heard of losses: replacements are perfect."""
    rate_hz, packet = spec.sample_rate_hz, spec.packet_samples
    period = period_samples or packet
    times, numbers = arrivals(network, int(seconds * rate_hz / packet) + 400, seed, spec)
    times, numbers = times.tolist(), numbers.tolist()
    playout = make_playout(spec, period_samples=period, resampled=True, **settings)
    drift, resampler = DriftEstimator(), Resampler()
    drift.prepare(spec, playout.arrivals, period)
    resampler.prepare(spec)
    periods = int(seconds * rate_hz / period)
    wakes = START_NS + (PHASE + np.arange(periods)) * 1e9 * period / rate_hz / (1 + 1e-6 * our_ppm)
    wakes += np.random.default_rng(seed + 1).exponential(1e6 * wake_ms, periods)
    wakes = np.maximum.accumulate(wakes).astype(np.int64).tolist()
    loop = Loop(Outcome(), np.zeros(0, np.float32), *np.zeros((3, periods)))
    played, block, t = [], np.zeros((packet, spec.channels), np.float32), np.arange(packet) / rate_hz
    at = level = 0
    sender_ns = packet_ns(spec, network.sender_ppm)
    for index, now_ns in enumerate(wakes):
        while at < len(times) and times[at] + 1e6 * handoff_ms <= now_ns:
            loop.outcome.arrive(playout, numbers[at], times[at])
            at += 1
        ratio = drift.period(now_ns, index * period, playout.excess_samples)
        while level < period:
            pull = loop.outcome.pull(playout, now_ns, level)
            number = pull.number - FIRST
            if number >= 0:
                begins_ns = START_NS + (PHASE * period + index * period + level) * 1e9 / rate_hz / (1 + 1e-6 * our_ppm)
                loop.wait_ms[index] = 1e-6 * (begins_ns - START_NS - number * sender_ns)
                block[:] = 0.5 * np.sin(2 * np.pi * tone_hz * (t + number * packet / rate_hz))[:, np.newaxis]
            else:
                block[:] = 0
            played.append(resampler.process(block, ratio)[: resampler.samples, 0].copy())
            level += resampler.samples
        if loop.wait_ms[index] == 0:
            loop.wait_ms[index] = loop.wait_ms[index - 1]
        level -= period
        loop.ratio[index] = ratio
        loop.drift_ppm[index] = 1e-3 * drift.drift_ppb
    loop.played = np.concatenate(played)
    return loop
