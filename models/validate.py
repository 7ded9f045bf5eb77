"""How good a refiner is on held-out files: through the concealer, by the metrics that `continuo evaluate` reports."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..firmware_py import metrics
from ..firmware_py.audio_file import read_audio
from ..firmware_py.loss import GilbertElliott
from ..firmware_py.methods import METHODS
from ..firmware_py.rt.concealer import Concealer, Method
from ..firmware_py.rt.spec import StreamSpec
from ..firmware_py.rt.timing import Rung
from .bin2bin.refiner import Refiner
from .bin2bin.runtime import TorchRefiner
from .data.packets import PACKET_SAMPLES
from .experiment import Experiment

__all__ = ["Validation"]

METRICS = ("nmse_gap_db", "mel_sc", "lsd_gap_db")
LOSSES = GilbertElliott(p=0.06, r=0.5)


class Validation:
    """Excerpts of held-out files, each with its losses, and what the predictor alone makes of them."""

    def __init__(self, files: list[Path], experiment: Experiment, clips: int, seconds: float) -> None:
        self._method = METHODS[experiment.method]
        self._rate_hz = experiment.sample_rate_hz
        excerpts = [e for path in files for e in _excerpts(path, seconds)]
        chosen = np.unique(np.linspace(0, len(excerpts) - 1, min(clips, len(excerpts))).astype(int))
        self._clips = [excerpts[i] for i in chosen]
        self._lost = [LOSSES.generate(len(c) // PACKET_SAMPLES, seed=1000 + i) for i, c in enumerate(self._clips)]
        self._before = self._measure(self._method)

    def run(self, refiner: Refiner) -> dict[str, float]:
        """Means over clips after refinement, and relative to the predictor alone: ``mel_sc_ratio`` and so on.

        ``score`` is what best weights are chosen by, lower is better: the mean of the ratios of ``mel_sc`` and
        ``lsd_gap_db``, and of the waveform's error (20 dB = a factor of ten).
        """
        training = refiner.training
        refiner.eval()
        rung = Rung.LITE
        after = self._measure(
            Method("validation", self._method.predictor, lambda: TorchRefiner(refiner, rung), self._method.crossfade_ms)
        )
        refiner.train(training)
        figures = {name: float(after[:, i].mean()) for i, name in enumerate(METRICS)}
        change_db = after[:, 0] - self._before[:, 0]
        mel_ratio = after[:, 1] / self._before[:, 1]
        lsd_ratio = after[:, 2] / self._before[:, 2]
        figures |= {
            "nmse_gap_change_db": float(change_db.mean()),
            "mel_sc_ratio": float(after[:, 1].mean() / self._before[:, 1].mean()),
            "lsd_gap_ratio": float(after[:, 2].mean() / self._before[:, 2].mean()),
            "score": float(np.mean((mel_ratio.mean(), lsd_ratio.mean(), (10 ** (change_db / 20)).mean()))),
        }
        return figures

    def _measure(self, method: Method) -> NDArray[np.float64]:
        rows = []
        threads = torch.get_num_threads()
        for clip, lost in zip(self._clips, self._lost, strict=True):
            concealer = Concealer(method)
            concealer.prepare(StreamSpec(self._rate_hz, PACKET_SAMPLES))
            out = clip.copy()
            for packet, gone in enumerate(lost):
                part = slice(packet * PACKET_SAMPLES, (packet + 1) * PACKET_SAMPLES)
                out[part] = concealer.process(None if gone else clip[part])
            measured = metrics.all_metrics(clip, out, lost, PACKET_SAMPLES, self._rate_hz, names=METRICS)
            rows.append([np.nan if measured[name] is None else measured[name] for name in METRICS])
        torch.set_num_threads(threads)
        return np.array(rows, np.float64)


def _excerpts(path: Path, seconds: float) -> list[NDArray[np.float32]]:
    """Up to two excerpts of ``path`` [shape=(samples, 1)]; all of it when it is shorter."""
    audio = read_audio(path)
    mono = audio.samples.mean(axis=1, keepdims=True)
    length = round(seconds * audio.sample_rate_hz) // PACKET_SAMPLES * PACKET_SAMPLES
    if len(mono) < 1.5 * length:
        return [mono[:length]]
    starts = (len(mono) // 6, len(mono) // 2)
    return [mono[s : s + length] for s in starts if len(mono) - s >= length]
