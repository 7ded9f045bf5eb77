"""The jitter buffer against whole networks, in virtual time: nothing is counted twice, deep without need, or deaf."""

from collections import Counter

import numpy as np
import pytest

from continuo.firmware_py.rt.playout import SLOTS, Action, Arrival
from continuo.firmware_py.rt.spec import StreamSpec

BAD_PLACES = {
    "clean": {},
    "jitter": {"jitter_ms": 1.0},
    "pure loss": {"loss": 0.3},
    "bursts": {"loss": 0.02, "burst": 0.9, "jitter_ms": 0.2},
    "duplicates": {"duplicate": 0.2, "jitter_ms": 0.5},
    "reordering": {"gaussian_ms": 4.0},
    "stalls": {"stall": 0.002, "stall_ms": 60.0, "jitter_ms": 0.3},
    "everything": {
        "jitter_ms": 1.5, "gaussian_ms": 1.0, "loss": 0.05, "burst": 0.6, "duplicate": 0.05, "stall": 0.001,
        "stall_ms": 40.0, "sender_ppm": 300.0,
    },
    "outages": {"loss": 0.0005, "burst": 0.997, "jitter_ms": 0.5, "duplicate": 0.02},
}  # fmt: skip


@pytest.fixture
def packets(jit):
    """Half a minute, or what Python can do."""
    return 11_000 if jit else 1500


def share(actions, action):
    return actions[action] / actions.total()


@pytest.mark.parametrize("place", BAD_PLACES)
@pytest.mark.parametrize("settings", [{"tightness": 0.0}, {"tightness": 1.0}, {"fixed_packets": 3}])
@pytest.mark.parametrize("seed", range(3))
def test_every_packet_is_accounted_for_exactly_once(place, settings, seed, virtual, packets):
    """Whatever arrives or does not, in any order: sums match, nothing plays twice, the order is kept."""
    network = virtual.Network(**BAD_PLACES[place])
    times, numbers = virtual.arrivals(network, packets, seed)
    playout = virtual.make_playout(**settings)
    wander = np.random.default_rng(seed).random(packets + 300) < 0.001  # somebody plays with the knob

    def turn(index):
        if wander[index]:
            if "tightness" in settings:
                playout.set_tightness(float(index % 11) / 10)
            else:
                playout.set_fixed_packets(index % 9)

    outcome = virtual.play(playout, times, numbers, packets + 300, before_pull=turn)
    arrived, pulls = outcome.arrived, outcome.pulls
    assert arrived.total() == len(times)
    # What came: each datagram is one of these.
    kept = arrived[Arrival.ON_TIME] + arrived[Arrival.REORDERED] + arrived[Arrival.RESTARTED]
    assert playout.duplicated == arrived[Arrival.DUPLICATED]
    assert playout.strays == arrived[Arrival.STRAY]
    assert playout.late == arrived[Arrival.LATE] == len(outcome.late_by_ns)
    assert min(outcome.late_by_ns, default=1) > 0
    assert kept + playout.late + playout.strays == len(set(numbers.tolist()))
    # What was asked for: each number is one of these, once.
    played = [n for action, n, _ in pulls if action in {Action.PLAY, Action.MERGED}]
    absent = [n for action, n, _ in pulls if action == Action.LOST]
    assert playout.played == len(played)
    assert kept == playout.played + playout.dropped
    assert max(Counter(played + absent).values()) == 1
    in_order = [n for action, n, _ in pulls if action != Action.INSERTED]
    assert in_order == sorted(in_order)
    assert all(n < second for action, n, second in pulls if action == Action.MERGED)
    assert playout.inserted == outcome.actions[Action.INSERTED]
    asked = playout.played + playout.dropped + playout.lost + playout.late + playout.unsent
    if arrived[Arrival.RESTARTED] == 1:
        assert asked == playout.next_number - min(n for _, n, _ in pulls)
        assert playout.lost + playout.late + playout.unsent >= len(absent)
    # Nothing was heard from a number that never came, and every replacement could be prepared.
    assert set(played) <= set(numbers.tolist())
    assert outcome.unprepared <= arrived[Arrival.RESTARTED]
    assert max(outcome.depth_samples) < SLOTS * virtual.SPEC.packet_samples


@pytest.mark.parametrize("tightness", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("loss", [{"loss": 0.3}, {"loss": 0.03, "burst": 0.9}])
def test_loss_alone_does_not_deepen_the_buffer(tightness, loss, virtual, packets):
    """30 % of all packets never come: the buffer is as deep as without a loss, and every packet that came plays."""

    def run(**more):
        playout = virtual.make_playout(tightness=tightness)
        times, numbers = virtual.arrivals(virtual.Network(jitter_ms=0.2, **more), packets, 1)
        return playout, virtual.play(playout, times, numbers, packets)

    (_, without), (lossy, outcome) = run(), run(**loss)
    tolerated_ms = np.array([without.tolerance_samples[-1], outcome.tolerance_samples[-1]]) / 48
    assert tolerated_ms[1] <= tolerated_ms[0] + 0.3
    assert outcome.actions[Action.INSERTED] <= without.actions[Action.INSERTED] + 1
    assert outcome.arrived[Arrival.LATE] <= 0.05 * packets * tightness + 3
    lost = 1 - len(times_of(outcome)) / len(outcome.pulls)
    assert lost == pytest.approx(0.25, abs=0.1)
    assert lossy.lost > 0.15 * packets


def times_of(outcome):
    return [n for action, n, _ in outcome.pulls if action in {Action.PLAY, Action.MERGED}]


@pytest.mark.parametrize(
    ("tightness", "late_at_most", "wait_ms_at_most"), [(0, 0.001, 16), (0.5, 0.004, 11), (1, 0.04, 7)]
)
def test_the_tightness_trades_late_packets_for_latency(tightness, late_at_most, wait_ms_at_most, virtual, jit, packets):
    """An exponential jitter of 1 ms: as many late as the control says, and not deeper than that needs."""
    playout = virtual.make_playout(tightness=tightness)
    times, numbers = virtual.arrivals(virtual.Network(jitter_ms=1.0), packets, 2)
    outcome = virtual.play(playout, times, numbers, packets)
    assert outcome.late_share() <= late_at_most + (0 if jit else 0.01)
    settled = outcome.depth_samples[packets // 2 :]
    assert np.mean(settled) / 48 < wait_ms_at_most


@pytest.mark.parametrize("tightness", [0.0, 0.5, 1.0])
def test_a_steady_network_is_left_in_peace(tightness, virtual, jit, packets):
    """Once settled, hardly any packet is inserted or merged: each costs a little."""
    packets = packets * 4
    playout = virtual.make_playout(tightness=tightness)
    times, numbers = virtual.arrivals(virtual.Network(jitter_ms=0.7), packets, 3)
    outcome = virtual.play(playout, times, numbers, packets)
    settled = [action for action, _, _ in outcome.pulls[packets // 3 :]]
    assert settled.count(Action.INSERTED) + settled.count(Action.MERGED) <= (3 if jit else 9)


def test_the_buffer_comes_down_again_after_a_bad_spell(virtual, jit):
    """Peers' buffers only ever grow. This one is as before, one window after the spell."""
    if not jit:
        pytest.skip("minutes of packets are too many for Python")
    playout = virtual.make_playout(tightness=0.5)
    spells = [(8000, {"jitter_ms": 0.2}), (2000, {"jitter_ms": 6.0, "loss": 0.1}), (20_000, {"jitter_ms": 0.2})]
    times, numbers, at = [], [], 0
    for seed, (count, network) in enumerate(spells):
        start_ns = virtual.START_NS + round(at * virtual.packet_ns())
        t, n = virtual.arrivals(virtual.Network(**network), count, seed, first=virtual.FIRST + at, start_ns=start_ns)
        times.append(t)
        numbers.append(n)
        at += count
    times, numbers = np.concatenate(times), np.concatenate(numbers)
    order = np.argsort(times, kind="stable")
    outcome = virtual.play(playout, times[order], numbers[order], at - 10)
    depth = np.array(outcome.depth_samples)
    before, during, after = depth[6000:7500].mean(), depth[9000:9900].mean(), depth[-3000:].mean()
    assert during > before + 3 * 128
    assert after <= before + 40
    # It got there packet by packet, not by leaving out music at once.
    assert all(second - n == 1 for action, n, second in outcome.pulls[8000:] if action == Action.MERGED)
    late = [n for action, n, _ in outcome.pulls if action == Action.LOST and n > virtual.FIRST + 10_200]
    assert len(late) < 20


@pytest.mark.parametrize("ppm", [-300.0, 300.0])
def test_without_a_resampler_drift_costs_a_packet_now_and_then(ppm, virtual, jit, packets):
    """Bounded depth: one packet inserted or merged for each one that the clocks drift apart."""
    packets = packets * 3
    playout = virtual.make_playout(tightness=0.5)
    times, numbers = virtual.arrivals(virtual.Network(jitter_ms=0.1, sender_ppm=ppm), packets + 100, 4)
    outcome = virtual.play(playout, times, numbers, packets)
    apart = packets * abs(ppm) * 1e-6
    moved = outcome.actions[Action.INSERTED] if ppm < 0 else outcome.actions[Action.MERGED]
    assert moved == pytest.approx(apart, abs=3)
    assert max(outcome.depth_samples[1000:]) <= 5 * 128
    assert outcome.late_share() < 0.003 + (0 if jit else 0.01)


def test_a_sender_that_sends_in_bunches(virtual, packets):
    """A peer whose device moves four packets at once sends them at once: the last of them wait, none is late."""
    playout = virtual.make_playout(tightness=0.5)
    times, numbers = virtual.arrivals(virtual.Network(jitter_ms=0.05, sender_bunch=4), packets, 5)
    outcome = virtual.play(playout, times, numbers, packets)
    assert outcome.tolerance_samples[-1] == pytest.approx(3 * 128 + 40, abs=24)
    assert outcome.late_share() < 0.002


def test_our_own_lateness_is_tolerated_too(virtual, packets):
    """Our thread wakes late, our network process sits on packets: with a peer nearby there is no other jitter."""
    playout = virtual.make_playout(tightness=0.5)
    times, numbers = virtual.arrivals(virtual.Network(jitter_ms=0.02), packets, 6)
    outcome = virtual.play(playout, times, numbers, packets, handoff_ms=1.5, wake_ms=0.2)
    assert outcome.late_share() < 0.006
    assert [action for action, _, _ in outcome.pulls[-packets // 2 :]].count(Action.LOST) <= 0.003 * packets


@pytest.mark.parametrize("step_ms", [-40.0, 40.0])
def test_another_route_is_followed(step_ms, virtual, jit):
    """All packets take 40 ms longer, or less, from now on: the buffer is as deep as before after a second,
    or, where that takes music away and it is not sure to last, when the window of 12 s is over."""
    if not jit:
        pytest.skip("minutes of packets are too many for Python")
    count, at = 12_000, 3000
    playout = virtual.make_playout(tightness=0.8)
    times, numbers = virtual.arrivals(virtual.Network(delay_ms=60, jitter_ms=0.2), count, 7)
    times[numbers >= virtual.FIRST + at] += round(1e6 * step_ms)
    order = np.argsort(times, kind="stable")
    outcome = virtual.play(playout, times[order], numbers[order], count)
    depth = np.array(outcome.depth_samples)
    assert depth[at + (375 if step_ms > 0 else 8250) :][:300].mean() == pytest.approx(
        depth[at - 400 : at - 50].mean(), abs=1.6 * 128
    )
    assert not any(action == Action.LOST for action, n, _ in outcome.pulls[at + 400 : -20])


@pytest.mark.parametrize(
    ("rate_hz", "packet"), [(22_050, 1024), (44_100, 512), (48_000, 32), (96_000, 32), (96_000, 1024)]
)
def test_at_every_packet_length(rate_hz, packet, virtual, packets):
    spec = StreamSpec(rate_hz, packet, 2)
    packets = packets // 2
    playout = virtual.make_playout(spec, tightness=0.3)
    times, numbers = virtual.arrivals(virtual.Network(jitter_ms=0.5, loss=0.02), packets, 8, spec)
    outcome = virtual.play(playout, times, numbers, packets - 5, spec=spec)
    late = outcome.late_share()
    assert late < 0.01
    assert outcome.actions[Action.LOST] / len(outcome.pulls) == pytest.approx(0.02 + late, abs=0.01)
    assert np.mean(outcome.depth_samples[packets // 2 :]) < 2.5 * packet + 0.008 * rate_hz
