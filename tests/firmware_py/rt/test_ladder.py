"""The two halves apart, with slots between them, against the concealer that is both."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numba import config

from continuo.firmware_py.methods import METHODS
from continuo.firmware_py.rt.burst import Step
from continuo.firmware_py.rt.concealer import Concealer
from continuo.firmware_py.rt.ladder import Ladder
from continuo.firmware_py.rt.predictor import BurgPredictor
from continuo.firmware_py.rt.preparer import Preparer
from continuo.firmware_py.rt.slots import ReplacementSlots
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import Rung

JIT = not config.DISABLE_JIT
LPC = METHODS["lpc"] if JIT else replace(METHODS["lpc"], predictor=partial(BurgPredictor, 4, 64))


class Louder:
    """A refiner: 1.2 times the prediction, but not after a sample that is far up."""

    rung = Rung.LITE
    context_samples = 40

    def prepare(self, spec, predict_samples):
        pass

    def refine(self, context, concealed, prediction, out):
        np.multiply(prediction, 1.2 + concealed.mean(), out=out)
        return context[-1] < 0.2


METHODS_HERE = [LPC, replace(LPC, name="refined", refiner=Louder), METHODS["repeat"], METHODS["zero"]]


class Box:
    """Both halves as the box has them: the preparer is told of each packet after it played."""

    def __init__(self, spec, method):
        self.preparer, self.ladder = Preparer(method), Ladder(method)
        self.preparer.prepare(spec)
        ahead = self.preparer.burst.ahead_samples
        self.slots = ReplacementSlots(spec.channels, ahead)
        self.ladder.prepare(spec, self.slots)

    def prepare_next(self, refine=True):
        if self.preparer.predict() == Step.FRESH:
            pending, number = self.preparer.pending, self.ladder.index
            self.slots.publish(number, 0, pending.rung, 1, 2, pending.samples)
            if refine and self.preparer.refine():
                self.slots.publish(number, 1, pending.rung, 1, 2, pending.samples)

    def play(self, packet):
        if packet is None:
            self.preparer.lost()
            return self.ladder.lost().copy()
        self.preparer.received(packet)
        return self.ladder.received(packet).copy()


def music(spec, count, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(count * spec.packet_samples)[:, np.newaxis]
    tones = 0.3 * np.sin(0.05 * t * [1.0, 1.5][: spec.channels]) + rng.normal(0, 1e-3, (len(t), spec.channels))
    return tones.astype(np.float32).reshape(count, spec.packet_samples, spec.channels)


def losses(count, seed=1):
    rng, lost = np.random.default_rng(seed), np.zeros(count, bool)
    for n in range(1, count):
        lost[n] = rng.random() < (0.6 if lost[n - 1] else 0.1)
    lost[count // 2 : count // 2 + count // 4] = True
    return lost


@pytest.mark.parametrize("packet_samples", [32, 128, 512, 1024] if JIT else [64])
@pytest.mark.parametrize("method", METHODS_HERE, ids=lambda method: method.name)
def test_apart_equals_together(packet_samples, method):
    spec = StreamSpec(44_100, packet_samples, 2)
    count = (900 if packet_samples < 100 else 240) if JIT else 24
    packets, lost = music(spec, count), losses(count)
    together, apart = Concealer(method), Box(spec, method)
    together.prepare(spec)
    for packet, is_lost in zip(packets, lost, strict=True):
        heard = None if is_lost else packet
        apart.prepare_next()
        np.testing.assert_array_equal(apart.play(heard), together.process(heard))
        assert apart.ladder.rung == together.row["rung"]
        assert not apart.ladder.missed


def test_a_miss_goes_on_without_a_step_and_the_late_replacement_takes_over():
    spec = StreamSpec(48_000, 64, 2)
    packets, box = music(spec, 60), Box(spec, LPC)
    heard = [box.play(packet) for packet in packets[:50]]
    heard.append(box.ladder.lost().copy())  # nothing is published
    assert box.ladder.missed
    assert box.ladder.rung == Rung.REPEAT
    assert np.abs(heard[-1]).max() > 0.1
    pending = box.preparer.pending
    assert box.preparer.predict() == Step.FRESH
    box.slots.publish(50, 0, pending.rung, 1, 2, pending.samples)  # late
    heard.append(box.ladder.lost().copy())
    assert not box.ladder.missed
    assert box.ladder.rung == Rung.LPC
    np.testing.assert_allclose(heard[-1][-1], pending.samples[:, 127], atol=1e-3)
    heard.append(box.ladder.received(packets[52]).copy())
    whole = np.concatenate(heard)
    assert np.abs(np.diff(whole, axis=0)).max() < 0.1


def test_a_preparer_that_is_gone_leaves_a_fade():
    spec = StreamSpec(48_000, 64, 1)
    packets, box = music(spec, 60), Box(spec, LPC)
    for packet in packets[:50]:
        box.play(packet)
    heard = [box.ladder.lost().copy() for _ in range(300)]
    assert np.abs(np.diff(np.concatenate(heard), axis=0)).max() < 0.1
    assert not np.any(heard[-1])
    assert box.ladder.rung == Rung.FADE
    out = box.ladder.received(packets[50])
    crossfade = len(box.preparer.burst.rise)
    np.testing.assert_array_equal(out[crossfade:], packets[50][crossfade:])


def test_a_better_rung_that_comes_late_is_crossfaded_into():
    spec = StreamSpec(48_000, 64, 1)
    method = METHODS_HERE[1]
    packets, box = music(spec, 60), Box(spec, method)
    heard = [box.play(packet) for packet in packets[:50]]
    box.prepare_next(refine=False)
    heard.append(box.ladder.lost().copy())
    assert box.ladder.rung == Rung.LPC
    assert box.preparer.refine()
    pending = box.preparer.pending
    box.slots.publish(50, 1, pending.rung, 1, 2, pending.samples)
    heard.append(box.ladder.lost().copy())
    assert box.ladder.rung == Rung.LITE
    np.testing.assert_allclose(heard[-1][-1], pending.samples[:, 127], atol=1e-3)
    assert np.abs(np.diff(np.concatenate(heard), axis=0)).max() < 0.1
