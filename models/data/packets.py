"""Training examples as the box would meet them: past with its concealed packets, the predictor's output, the truth."""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...firmware_py.methods import METHODS
from ...firmware_py.rt.refinement import PREDICT_SAMPLES
from ...firmware_py.rt.repetition import HISTORY_SAMPLES, Repetition
from ...firmware_py.rt.spec import StreamSpec
from .folder import AudioFolder

__all__ = ["Batch", "Example", "PacketLosses"]

PACKET_SAMPLES = 512
HISTORY_PACKETS = 12
"""In which earlier losses are played out; the predictor's own context lies before it."""
LONGEST_CONTEXT = 6144
"""Of any predictor at this packet size."""
QUIETEST_RMS = 1e-4
"""Truth below -80 dBFS teaches nothing; one such example in fifty is kept, for the box hears silence too."""


@dataclass(frozen=True)
class Batch:
    """One batch; shapes in brackets, full scale 1."""

    chunk: Tensor
    """[batch, past + 1024]: what the box has played, then the prediction."""
    concealed: Tensor
    """[batch, past + 1024]: 1 where a sample was not received."""
    truth: Tensor
    """[batch, 1024]: what was sent in place of the prediction; its first 512 samples are the gap."""
    repetition: Tensor | None = None
    """[batch, past + 1024]: the most similar past and how it went on (`Repetition.find`), if asked for."""
    match: Tensor | None = None
    """[batch]: how similar, 0 to 1."""


@dataclass(frozen=True)
class Example:
    """One example; fields as in `Batch`, without the batch."""

    chunk: NDArray[np.float32]
    concealed: NDArray[np.float32]
    truth: NDArray[np.float32]
    repetition: NDArray[np.float32]
    match: float


class PacketLosses:
    """Draws examples: a chunk of music, some of its packets lost as on a bad network, the last one for certain.

    The context is real-world: earlier lost packets, and those of the same burst, hold what the predictor made of them.
    Example ``i`` of a seed is always the same, whatever was drawn before: training resumes exactly.

    Parameters
    ----------
    folder : AudioFolder
    method : str, whose predictor stands before the refiner
    past_samples : int, how much past a chunk holds
    seed : int
    augment : bool, gain, polarity, speed (0.8 to 1.25, which shifts the pitch) and mixing of two clips
    repetition : bool, also look for the most similar past in up to 6 s before the gap
    """

    def __init__(
        self,
        folder: AudioFolder,
        method: str,
        past_samples: int,
        seed: int,
        augment: bool = True,
        repetition: bool = False,
    ) -> None:
        self._folder, self._past, self._seed, self._augment = folder, past_samples, seed, augment
        self._predictor = METHODS[method].predictor()
        self._predictor.prepare(StreamSpec(folder.sample_rate_hz, PACKET_SAMPLES), PREDICT_SAMPLES)
        self._repetition = Repetition() if repetition else None
        context = max(self._predictor.context_samples, past_samples)
        self._least_samples = (-(-context // PACKET_SAMPLES) + HISTORY_PACKETS) * PACKET_SAMPLES + PREDICT_SAMPLES
        if self._repetition is not None:
            self._repetition.prepare(past_samples)
            context = HISTORY_SAMPLES
        self._lead_packets = -(-context // PACKET_SAMPLES)
        self._music_samples = (self._lead_packets + HISTORY_PACKETS) * PACKET_SAMPLES + PREDICT_SAMPLES

    @staticmethod
    def shortest_clip(past_samples: int) -> int:
        """How long a clip must be to draw from, at the highest speed and with the longest predictor's context."""
        packets = -(-max(LONGEST_CONTEXT, past_samples) // PACKET_SAMPLES) + HISTORY_PACKETS
        return int(1.25 * (packets * PACKET_SAMPLES + PREDICT_SAMPLES)) + 8

    def example(self, index: int) -> Example:
        """Example ``index``."""
        rng = np.random.default_rng((self._seed, index))
        music = self._music(rng)
        start = len(music) - PREDICT_SAMPLES
        truth = music[start:].copy()
        lost = self._losses(rng)
        concealed = np.zeros(len(music), np.float32)
        concealed[start:] = 1.0
        out = np.empty(PREDICT_SAMPLES, np.float32)
        for packet in np.flatnonzero(lost):
            at = (self._lead_packets + packet) * PACKET_SAMPLES
            self._predictor.predict(music[at - self._predictor.context_samples : at], out)
            music[at : at + PACKET_SAMPLES] = out[:PACKET_SAMPLES]
            concealed[at : at + PACKET_SAMPLES] = 1.0
        self._predictor.predict(music[start - self._predictor.context_samples : start], out)
        music[start:] = out
        found, match = np.zeros(0, np.float32), 0.0
        if self._repetition is not None:
            found = np.zeros(self._past + PREDICT_SAMPLES, np.float32)
            history = slice(start - HISTORY_SAMPLES, start)
            match = self._repetition.find(music[history], concealed[history], found)
        return Example(music[start - self._past :], concealed[start - self._past :], truth, found, match)

    def batches(self, batch: int, first_step: int, steps: int) -> Iterator[Batch]:
        """Batches ``first_step`` to ``steps``, made in a thread of their own a few ahead of the network."""
        made: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=8)
        stop = threading.Event()

        def produce() -> None:
            try:
                for step in range(first_step, steps):
                    if stop.is_set():
                        return
                    made.put(self.batch(range(step * batch, (step + 1) * batch)))
                made.put(None)
            except BaseException as error:  # handed to the consumer
                made.put(error)

        threading.Thread(target=produce, daemon=True).start()
        try:
            while (item := made.get()) is not None:
                if isinstance(item, BaseException):
                    raise item
                yield item
        finally:
            stop.set()

    def batch(self, indices: range) -> Batch:
        """The examples of ``indices`` stacked."""
        examples = [self.example(index) for index in indices]
        chunk, concealed, truth, repetition = (
            torch.from_numpy(np.stack([getattr(example, name) for example in examples]))
            for name in ("chunk", "concealed", "truth", "repetition")
        )
        if self._repetition is None:
            return Batch(chunk, concealed, truth)
        return Batch(chunk, concealed, truth, repetition, torch.tensor([example.match for example in examples]))

    def _losses(self, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Losses among the packets before the gap: an own burst that runs into it, and earlier ones."""
        lost = np.zeros(HISTORY_PACKETS, bool)
        bad = False
        for packet in range(HISTORY_PACKETS):
            bad = rng.random() < (0.5 if bad else 0.05)
            lost[packet] = bad
        burst = min(int(rng.geometric(0.6)) - 1, 6)  # packets of the same burst before this one
        lost[HISTORY_PACKETS - burst :] = True
        lost[HISTORY_PACKETS - burst - 1] = False
        return lost

    def _music(self, rng: np.random.Generator) -> NDArray[np.float32]:
        for _ in range(50):
            music = self._excerpt(rng)
            if self._augment and rng.random() < 0.2:
                music = music + np.float32(10 ** rng.uniform(-0.6, 0.0)) * self._excerpt(rng)
            if np.sqrt(np.mean(music[-PREDICT_SAMPLES:] ** 2)) > QUIETEST_RMS or rng.random() < 0.02:
                break
        if self._augment:
            music = music * np.float32(rng.choice((-1, 1)) * 10 ** rng.uniform(-1.0, 0.0))
        return music

    def _excerpt(self, rng: np.random.Generator) -> NDArray[np.float32]:
        clip = self._folder.clips[rng.choice(len(self._folder.clips), p=self._folder.weights)]
        share = 0.5 if self._repetition is None else 0.25  # 6 s take a while
        speed = 1.25 ** rng.uniform(-1, 1) if self._augment and rng.random() < share else 1.0
        least, most = (int(np.ceil(n * speed)) + 4 for n in (self._least_samples, self._music_samples))
        end = int(rng.integers(min(least, len(clip)), len(clip) + 1))
        excerpt = clip[max(0, end - most) : end]
        if speed != 1.0:
            excerpt = _at_speed(excerpt, speed, min(self._music_samples, int((len(excerpt) - 4) / speed)))
        excerpt = excerpt[-self._music_samples :]
        return np.concatenate((np.zeros(self._music_samples - len(excerpt), np.float32), excerpt))


def _at_speed(samples: NDArray[np.float32], speed: float, wanted: int) -> NDArray[np.float32]:
    """Catmull-Rom interpolation at ``speed`` times the rate: cheap, and any noise it adds is in the truth as well."""
    at = np.minimum(1 + np.arange(wanted) * speed, len(samples) - 3)
    whole = at.astype(np.int64)
    t = (at - whole).astype(np.float32)
    a, b, c, d = (samples[whole + shift] for shift in (-1, 0, 1, 2))
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
