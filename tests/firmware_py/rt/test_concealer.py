from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numba import config

from continuo.firmware_py.methods import METHODS
from continuo.firmware_py.rt.concealer import Concealer
from continuo.firmware_py.rt.predictor import BurgPredictor, PaperPredictor
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import Rung

JIT = not config.DISABLE_JIT
if JIT:
    LPC, PAPER = METHODS["lpc"], METHODS["lpc-paper"]
    RATES, PACKETS, CHANNELS = (22_050, 44_100, 48_000, 96_000), (32, 128, 500, 512, 1000, 1024), (1, 2, 8)
else:
    LPC = replace(METHODS["lpc"], predictor=partial(BurgPredictor, 4, 64))
    PAPER = replace(METHODS["lpc-paper"], predictor=partial(PaperPredictor, 4, 64))
    RATES, PACKETS, CHANNELS = (22_050,), (32, 500), (2,)
ALL_METHODS = (LPC, PAPER, METHODS["repeat"], METHODS["zero"])
SPEC = StreamSpec(44_100, 128, 2) if JIT else StreamSpec(22_050, 64, 2)
LOST = (5, 9, 10, 14, 15, 16, 17, 18)
"""A single loss, a pair, and a burst, within 24 packets."""

specs = pytest.mark.parametrize(
    "spec",
    [StreamSpec(rate, packet, channels) for rate in RATES for packet in PACKETS for channels in CHANNELS],
    ids=lambda spec: f"{spec.sample_rate_hz}-{spec.packet_samples}-{spec.channels}",
)
methods = pytest.mark.parametrize("method", ALL_METHODS, ids=lambda method: method.name)


def concealer_for(spec, method=LPC):
    concealer = Concealer(method)
    concealer.prepare(spec)
    return concealer


def packets_of(spec, count=24, seed=0):
    """Tones and noise, different in every channel: float32 [shape=(count, packet_samples, channels)]."""
    rng = np.random.default_rng(seed)
    t = np.arange(count * spec.packet_samples)[:, np.newaxis]
    tones = sum(np.sin((0.03 * k + 0.01 * np.arange(spec.channels)) * t + k) / k for k in (1, 2, 5))
    samples = 0.2 * tones + rng.normal(0, 1e-3, tones.shape)
    return samples.astype(np.float32).reshape(count, spec.packet_samples, spec.channels)


def play(concealer, packets, lost=LOST, ahead=False):
    """What is played; with ``ahead``, every replacement is prepared before its packet is due, as the box does it."""
    out = np.zeros_like(packets)
    for index, packet in enumerate(packets):
        if ahead:
            concealer.prepare_replacement()
        out[index] = concealer.process(None if index in lost else packet)
    return out


def crossfade_samples(concealer):
    spec = concealer.spec
    return min(spec.packet_samples, round(1e-3 * concealer.method.crossfade_ms * spec.sample_rate_hz))


@specs
def test_received_packets_pass_bit_exact(spec):
    concealer, packets = concealer_for(spec), packets_of(spec)
    out = play(concealer, packets)
    for index in set(range(24)) - set(LOST):
        start = crossfade_samples(concealer) if index - 1 in LOST else 0
        np.testing.assert_array_equal(out[index, start:], packets[index, start:])
    assert np.isfinite(out).all()
    assert np.abs(out).max() <= 1.5 * np.abs(packets).max() * (1 + 1e-6)
    assert np.abs(out[5]).max() > 0
    assert not np.array_equal(out[6], packets[6])  # there is a crossfade


@specs
def test_adds_no_latency(spec):
    """An impulse comes out in the call that it went in with, at its place."""
    concealer = concealer_for(spec)
    place, channel = spec.packet_samples // 3, spec.channels - 1
    silence = np.zeros((spec.packet_samples, spec.channels), np.float32)
    impulse = silence.copy()
    impulse[place, channel] = 1
    assert concealer.latency_samples == 0
    for packet in (silence, impulse, silence):
        np.testing.assert_array_equal(concealer.process(packet), packet)


@methods
def test_channels_are_independent(method):
    """Two channels at once equal each of them alone, bit for bit."""
    packets = packets_of(SPEC)
    both = play(concealer_for(SPEC, method), packets)
    mono = replace(SPEC, channels=1)
    for channel in (0, 1):
        alone = play(concealer_for(mono, method), packets[:, :, channel : channel + 1])
        np.testing.assert_array_equal(both[:, :, channel], alone[:, :, 0])


@methods
def test_preparing_ahead_changes_nothing(method):
    packets = packets_of(SPEC)
    late = play(concealer_for(SPEC, method), packets)
    np.testing.assert_array_equal(play(concealer_for(SPEC, method), packets, ahead=True), late)


@pytest.mark.parametrize("packet_samples", PACKETS)
def test_preparing_ahead_changes_nothing_at_any_packet_length(packet_samples):
    spec = replace(SPEC, packet_samples=packet_samples)
    packets = packets_of(spec, 40)
    lost = {*LOST, 20, *range(22, 36)}
    late = play(concealer_for(spec), packets, lost)
    np.testing.assert_array_equal(play(concealer_for(spec), packets, lost, ahead=True), late)


@methods
def test_reset_equals_a_fresh_concealer(method):
    packets = packets_of(SPEC)
    concealer = concealer_for(SPEC, method)
    play(concealer, packets_of(SPEC, seed=1), lost={2, 3, 21, 22, 23}, ahead=True)
    concealer.prepare_replacement()
    concealer.reset()
    assert concealer.damaged_samples == 0
    np.testing.assert_array_equal(play(concealer, packets), play(concealer_for(SPEC, method), packets))
    assert concealer.row["sequence"] == 23


@methods
def test_same_input_gives_same_output(method):
    packets = packets_of(SPEC)
    first = play(concealer_for(SPEC, method), packets)
    np.testing.assert_array_equal(play(concealer_for(SPEC, method), packets), first)


def test_lost_packets_content_is_never_read():
    packets = packets_of(SPEC)
    other = packets.copy()
    other[list(LOST)] = np.nan
    np.testing.assert_array_equal(play(concealer_for(SPEC), packets), play(concealer_for(SPEC), other))


def test_memory_layout_does_not_matter():
    """Packets off the network are read-only views; callers slice channels out of wider arrays."""
    packets = packets_of(SPEC)
    wide = np.zeros((*packets.shape[:2], 5), np.float32)
    wide[:, :, 1:3] = packets
    wide.flags.writeable = False
    for same in (wide[:, :, 1:3], np.asfortranarray(packets), packets.astype(np.float64)):
        concealer = concealer_for(SPEC)
        out = np.array([concealer.process(None if i in LOST else packet).copy() for i, packet in enumerate(same)])
        np.testing.assert_array_equal(out, play(concealer_for(SPEC), packets))


def test_crossfade_joins_without_a_step():
    """After a tone's loss, the packet after the gap and the replacement before it meet within the tone's own slope."""
    spec = SPEC
    t = np.arange(100 * spec.packet_samples)
    tone = np.repeat(np.sin(0.02 * t)[:, np.newaxis], 2, axis=1).astype(np.float32)
    packets = tone.reshape(100, spec.packet_samples, 2)
    out = play(concealer_for(spec), packets, lost={98}).reshape(-1, 2)
    assert np.abs(np.diff(out[97 * spec.packet_samples :, 0])).max() < 0.03


def test_conceals_a_tone():
    method = LPC if JIT else replace(LPC, predictor=partial(BurgPredictor, 24, 256))
    t = np.arange(100 * SPEC.packet_samples)
    tone = np.repeat(np.sin(0.3 * t)[:, np.newaxis], 2, axis=1).astype(np.float32)
    packets = tone.reshape(100, SPEC.packet_samples, 2)
    out = play(concealer_for(SPEC, method), packets, lost={98})
    error_db = 20 * np.log10(np.linalg.norm(out[98] - packets[98]) / np.linalg.norm(packets[98]))
    assert error_db < (-80 if JIT else -30)


def test_long_burst_fades_to_exactly_zero_and_recovers():
    """Full level for 60 ms, then a fade of 240 ms, then zeros: after 300 ms and one sample."""
    spec = SPEC
    concealer = concealer_for(spec)
    ms = 1e-3 * spec.sample_rate_hz
    begin = 20
    burst = int(310 * ms / spec.packet_samples) + 2
    packets = packets_of(spec, begin + burst + 3)
    lost = range(begin, begin + burst)
    out = play(concealer, packets, lost)
    concealed = out[begin : begin + burst].reshape(-1, spec.channels)
    faded_out = round(60 * ms) + round(240 * ms)
    assert np.abs(concealed[: round(60 * ms)]).max() > 0.05
    assert np.count_nonzero(concealed[faded_out:]) == 0
    assert np.count_nonzero(concealed[: faded_out - round(30 * ms)]) > 0
    crossfade = crossfade_samples(concealer)
    np.testing.assert_allclose(
        out[begin + burst, :crossfade],
        packets[begin + burst, :crossfade] * concealer.preparer.burst.rise[:, np.newaxis],
        rtol=1e-6,
    )  # from silence
    np.testing.assert_array_equal(out[begin + burst, crossfade:], packets[begin + burst, crossfade:])
    np.testing.assert_array_equal(out[begin + burst + 1 :], packets[begin + burst + 1 :])


def test_rung_tells_where_samples_came_from():
    concealer = concealer_for(SPEC)
    packets = packets_of(SPEC, 4)
    rungs = []
    for packet in (*packets, *[None] * 150, packets[0]):
        concealer.process(packet)
        rungs.append(int(concealer.row["rung"]))
    changes = [rung for before, rung in zip([-1, *rungs], rungs, strict=False) if rung != before]
    assert changes == [Rung.RECEIVED, Rung.LPC, Rung.FADE, Rung.RECEIVED]


def test_conceals_again_after_a_long_burst():
    concealer, packets = concealer_for(SPEC), packets_of(SPEC, 300)
    out = play(concealer, packets, lost={*range(20, 220), 295})
    assert np.abs(out[295]).max() > 0.05


@methods
def test_first_packet_lost_is_silent(method):
    packets = packets_of(SPEC)
    concealer = concealer_for(SPEC, method)
    out = play(concealer, packets, lost={0})
    np.testing.assert_array_equal(out[0], 0)
    start = crossfade_samples(concealer)
    np.testing.assert_array_equal(out[1, start:], packets[1, start:])
    np.testing.assert_array_equal(out[2:], packets[2:])


@methods
def test_all_lost_is_silence(method):
    out = play(concealer_for(SPEC, method), packets_of(SPEC), lost=range(24))
    np.testing.assert_array_equal(out, 0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e30])
def test_damaged_samples_are_counted_and_played_as_zeros(bad):
    concealer, packets = concealer_for(SPEC), packets_of(SPEC)
    packets[3, 7, 0] = packets[3, 9, 1] = packets[20, 0, 1] = bad
    out = play(concealer, packets)
    assert concealer.damaged_samples == 3
    assert out[3, 7, 0] == out[3, 9, 1] == out[20, 0, 1] == 0
    assert np.isfinite(out).all()
    assert np.abs(out).max() < 1


def test_row_times_every_packet():
    concealer, packets = concealer_for(SPEC), packets_of(SPEC)
    for index, packet in enumerate(packets):
        concealer.process(None if index in LOST else packet)
        row = concealer.row
        assert row["sequence"] == index
        assert row["lost"] == (index in LOST)
        assert row["total_ns"] >= row["crossfade_ns"] > 0
        assert row["deadline_margin_ns"] == SPEC.packet_ns - row["total_ns"]
        assert row["deadline_missed"] == (row["deadline_margin_ns"] < 0)
        assert (row["predict_ns"] > 0) == (index in {5, 9, 14} | refits())


def refits():
    """Packets of `LOST` at which the burst's last fit is used up."""
    last_fit, used = None, set()
    for index in LOST:
        if index - 1 not in LOST:
            last_fit = index
        elif (index - last_fit) * SPEC.packet_samples >= LPC.refit_samples:
            last_fit = index
            used.add(index)
    return used


def test_fits_again_within_a_burst():
    """With more than one packet per fit, the second packet of a burst goes on where the first one ended."""
    assert refits()
    once = replace(LPC, refit_samples=1 << 12)
    packets = packets_of(SPEC)
    out, reference = play(concealer_for(SPEC), packets), play(concealer_for(SPEC, once), packets)
    later = min(refits())
    np.testing.assert_array_equal(out[:later], reference[:later])
    assert not np.array_equal(out[later], reference[later])


class HalfVolume:
    """A refiner that halves the prediction, unless its context is loud."""

    rung = Rung.LITE
    context_samples = 40

    def prepare(self, spec, predict_samples):
        self.shape = (predict_samples,)
        self.seen = []

    def refine(self, context, concealed, prediction, out):
        assert prediction.shape == out.shape == self.shape
        assert context.shape == concealed.shape == (self.context_samples,)
        self.seen.append(concealed.copy())
        np.multiply(prediction, 0.5, out=out)
        return np.abs(context).max() < 1


def test_refiner_improves_on_the_prediction():
    packets = packets_of(SPEC)
    plain = play(concealer_for(SPEC), packets, lost={5})
    concealer = concealer_for(SPEC, replace(LPC, refiner=HalfVolume))
    refined = play(concealer, packets[:6], lost={5})
    np.testing.assert_array_equal(refined[5], 0.5 * plain[5])
    assert concealer.row["rung"] == Rung.LITE
    assert concealer.row["refine_ns"] > 0


def test_refiner_that_declines_leaves_the_prediction():
    packets = packets_of(SPEC)
    packets[:5, :, 1] *= 20  # one loud channel: both keep the prediction, so that channels sound alike
    plain = play(concealer_for(SPEC), packets[:6], lost={5})
    concealer = concealer_for(SPEC, replace(LPC, refiner=HalfVolume))
    np.testing.assert_array_equal(play(concealer, packets[:6], lost={5}), plain)
    assert concealer.row["rung"] == Rung.LPC


def test_refiner_may_change_its_mind():
    """Refined, declined, refined: each gap plays what its own fit published, ahead or not."""
    packets = packets_of(SPEC)
    packets[7:10] *= 10
    method = replace(LPC, refiner=HalfVolume)
    late = play(concealer_for(SPEC, method), packets, lost={5, 10, 20, 21, 22})
    ahead = play(concealer_for(SPEC, method), packets, lost={5, 10, 20, 21, 22}, ahead=True)
    np.testing.assert_array_equal(ahead, late)


def test_refiner_learns_what_was_concealed():
    concealer = concealer_for(SPEC, replace(LPC, refiner=HalfVolume))
    packets = packets_of(SPEC)
    seen = concealer.preparer._refiners[0].seen
    seen.clear()
    later = 5 + -(-LPC.refit_samples // SPEC.packet_samples)
    play(concealer, packets[: later + 1], lost=range(5, later + 1))
    np.testing.assert_array_equal([s.mean() for s in seen], [0, 1])


@specs
def test_replacement_reaches_as_far_as_it_is_played(spec):
    """However packets, fits and crossfades divide: the last fit's tail is still inside its prediction."""
    concealer = concealer_for(spec, replace(METHODS["zero"], crossfade_ms=1.45))
    position = 0
    for _ in range(100):
        concealer.process(None)
        position = max(position, concealer.preparer.burst.position_samples)
    assert position + crossfade_samples(concealer) <= concealer.preparer.burst.ahead_samples
