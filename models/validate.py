"""How good a refiner is on held-out files: through the simulator, by the metrics that `continuo evaluate` reports."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..firmware_py import metrics
from ..firmware_py.audio_file import Audio, read_audio, write_audio
from ..firmware_py.errors import MissingError
from ..firmware_py.loss import GilbertElliott
from ..firmware_py.methods import METHODS
from ..firmware_py.pictures import save_spectrogram_picture
from ..firmware_py.rt.concealer import Method
from ..firmware_py.rt.timing import Rung
from ..firmware_py.simulate import SimulationResult, simulate
from .bin2bin.refiner import Refiner
from .bin2bin.runtime import TorchRefiner
from .data.packets import PACKET_SAMPLES
from .experiment import Experiment

__all__ = ["LOSSES", "Validation", "excerpts"]

METRICS = ("nmse_gap_db", "mel_sc", "lsd_gap_db", "visqol")
VISQOL_SCALE = 4.0
"""A point of ViSQOL counts as this in the score: the goals are 0.02 there and 8 to 10 % elsewhere."""
LOSSES = GilbertElliott(p=0.06, r=0.5)


class Validation:
    """Excerpts of held-out files, each with its losses, and what the predictor alone makes of them."""

    def __init__(self, files: Sequence[Path], experiment: Experiment, clips: int, seconds: float) -> None:
        self._method = METHODS[experiment.method]
        self._metrics = tuple(name for name in metrics.installed_metrics() if name in METRICS)
        self._clips = excerpts(files, clips, seconds)
        self._lost = [LOSSES.generate(c.frames // PACKET_SAMPLES, seed=1000 + i) for i, c in enumerate(self._clips)]
        self._before = self._measure(self._simulate(self._method))

    def run(self, refiner: Refiner, examples: Path) -> dict[str, float]:
        """Means over clips after refinement, and relative to the predictor alone: ``mel_sc_ratio`` and so on.

        ``score`` is what the best weights are chosen by, lower is better: the mean of the ratios of ``mel_sc``,
        ``lsd_gap_db`` and the waveform's error (20 dB = a factor of ten), and of 1 less 4 times ViSQOL's gain where
        that is installed. The clip with the most to hear, and a picture of its worst gap, are written into the folder
        ``examples``.
        """
        training = refiner.training
        refiner.eval()
        refined = self._simulate(
            replace(self._method, name="refined", refiner=lambda: TorchRefiner(refiner, Rung.LITE))
        )
        refiner.train(training)
        after = self._measure(refined)
        _write_example(refined[int(np.argmax(self._before[:, METRICS.index("mel_sc")]))], examples)
        figures = {name: float(after[:, i].mean()) for i, name in enumerate(self._metrics)}
        change_db = after[:, 0] - self._before[:, 0]
        ratios = (after / self._before).mean(axis=0)
        figures["nmse_gap_change_db"] = float(change_db.mean())
        figures |= {f"{name}_ratio": float(ratios[i]) for i, name in enumerate(METRICS[:3]) if i > 0}
        parts = [ratios[1], ratios[2], (10 ** (change_db / 20)).mean()]
        if "visqol" in self._metrics:
            figures["visqol_change"] = float((after[:, 3] - self._before[:, 3]).mean())
            parts.append(1 - VISQOL_SCALE * figures["visqol_change"])
        figures["score"] = float(np.mean(parts))
        return figures

    def _simulate(self, method: Method) -> list[SimulationResult]:
        return [
            simulate(clip, lost, method, PACKET_SAMPLES) for clip, lost in zip(self._clips, self._lost, strict=True)
        ]

    def _measure(self, results: Sequence[SimulationResult]) -> NDArray[np.float64]:
        """Metrics of each result [shape=(clips, 3 or 4)]."""
        rows = []
        for r in results:
            measured = metrics.all_metrics(
                r.audio.samples, r.concealed, r.lost, PACKET_SAMPLES, r.audio.sample_rate_hz, names=self._metrics
            )
            rows.append([np.nan if measured[name] is None else measured[name] for name in self._metrics])
        return np.array(rows, np.float64)


def _write_example(result: SimulationResult, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rate_hz = result.audio.sample_rate_hz
    write_audio(folder / "reference.wav", result.audio.samples, rate_hz)
    write_audio(folder / "refined.wav", result.concealed, rate_hz)
    try:
        save_spectrogram_picture(result, folder / "spectrograms.png")
    except MissingError:  # no matplotlib: the audio is there all the same
        return


def excerpts(files: Sequence[Path], count: int, seconds: float) -> list[Audio]:
    """At most ``count`` mono excerpts of ``seconds`` (or shorter files whole), spread evenly over ``files``."""
    found = [e for path in files for e in _excerpts(path, seconds)]
    chosen = np.unique(np.linspace(0, len(found) - 1, min(count, len(found))).astype(int))
    return [found[i] for i in chosen]


def _excerpts(path: Path, seconds: float) -> list[Audio]:
    """Up to two mono excerpts of ``path``; all of it when it is shorter."""
    audio = read_audio(path)
    mono = audio.samples.mean(axis=1, keepdims=True)
    length = round(seconds * audio.sample_rate_hz) // PACKET_SAMPLES * PACKET_SAMPLES
    starts = (len(mono) // 6, len(mono) // 2) if len(mono) >= 1.5 * length else (0,)
    return [replace(audio, samples=mono[s : s + length]) for s in starts if s == 0 or len(mono) - s >= length]
