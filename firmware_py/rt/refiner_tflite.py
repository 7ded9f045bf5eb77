"""A refiner on TFLite: the network that `continuo convert` wrote, with the transforms around it. No torch."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from . import refiner_kernels as kernels
from .fourier import fft_columns, merge_spectra, split_spectra, twiddles
from .interpreter import load_interpreter
from .refinement import BINS, FFT_SAMPLES, INPUTS, OUTPUTS, PREDICT_SAMPLES, SCALES, is_plausible
from .repetition import HISTORY_SAMPLES, Repetition
from .spec import StreamSpec
from .timing import Rung

__all__ = ["SETTINGS", "TfliteRefiner"]

SETTINGS = "refiner.json"
"""In the archive at the end of the file, which is where TFLite keeps what belongs to a model."""


class TfliteRefiner:
    """`Refiner` of the concealer's, from a file that `continuo convert` wrote.

    Parameters
    ----------
    path : Path
    rung : Rung
    threads : int, that share one run of the network

    Raises
    ------
    InputError
        When ``path`` is no such file.
    """

    def __init__(self, path: Path, rung: Rung = Rung.LITE, threads: int = 1) -> None:
        self.rung = rung
        self._threads = threads
        try:
            self._model = path.read_bytes()
            with zipfile.ZipFile(io.BytesIO(self._model)) as archive:
                self.settings: dict[str, Any] = json.loads(archive.read(SETTINGS))
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
            raise InputError(f"{path} holds no refiner ({error}): write one with `continuo convert`") from None
        refiner = self.settings["refiner"]
        self._hop, self._columns = int(refiner["hop"]), int(refiner["columns"])
        self._touched = (PREDICT_SAMPLES - 1) // self._hop + 1
        self._chunk_samples = (self._columns - 1) * self._hop + FFT_SAMPLES
        self._past = self._chunk_samples - PREDICT_SAMPLES
        self._repetition = Repetition() if refiner["repetition"] else None
        self.context_samples = self._past if self._repetition is None else HISTORY_SAMPLES

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        """Allocate every buffer, compile every kernel and run once."""
        del spec
        refiner = self.settings["refiner"]
        columns, touched = self._columns, self._touched
        self._interpreter = load_interpreter(self._model, self._threads)
        (into,), (out) = self._interpreter.get_input_details(), self._interpreter.get_output_details()[0]
        self._input = self._interpreter.tensor(into["index"])
        self._output = self._interpreter.tensor(out["index"])
        self._quantised = into["dtype"] == np.int8
        codes = _per_code(into) if self._quantised else 1.0
        self._input_factors = (1 / (codes * np.array(self.settings["input_scale"]))).astype(np.float32)
        codes = _per_code(out) if self._quantised else 1.0
        self._output_scales = (codes * np.array(self.settings["output_scale"])).astype(np.float32)
        self._fine = int(self.settings["fine"])
        self._relative = refiner["inputs"] != "magnitude"
        self._complex_channels = 2 if refiner["inputs"] == "complex" else 0
        self._residual = refiner["output"] == "residual"
        self._scale = SCALES.index(refiner["scale"])
        self._kind = OUTPUTS.index(refiner["output"])
        self._window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT_SAMPLES) / FFT_SAMPLES)).astype(np.float32)
        self._weight = np.float32(self._hop / (FFT_SAMPLES * np.square(self._window, dtype=np.float64).sum()))
        self._roots = twiddles(FFT_SAMPLES)
        fade = int(refiner["fade_in_samples"])
        rise = 0.5 - 0.5 * np.cos(np.pi * (np.arange(fade) + 0.5) / max(1, fade))
        self._fade_in = np.concatenate((rise, np.ones(PREDICT_SAMPLES - fade))).astype(np.float32)
        self._chunk = np.zeros(self._chunk_samples, np.float32)
        self._concealed = np.ones(self._chunk_samples, np.float32)
        self._forward = np.zeros((4, FFT_SAMPLES, columns // 2), np.float32)
        self._backward = np.zeros((4, FFT_SAMPLES, touched // 2), np.float32)
        self._real = np.zeros((BINS + 1, columns), np.float32)
        self._imaginary = np.zeros((BINS + 1, columns), np.float32)
        self._found = np.zeros(self._chunk_samples, np.float32)
        self._other_real = np.zeros((BINS + 1, columns), np.float32)
        self._other_imaginary = np.zeros((BINS + 1, columns), np.float32)
        if self._repetition is not None:
            self._repetition.prepare(self._past)
        self._level = np.zeros((BINS, columns), np.float32)
        self._loudest = np.zeros(columns, np.float32)
        self._mask = np.zeros(columns, np.float32)
        self._fed = np.zeros(tuple(into["shape"][1:]), into["dtype"])
        self._raw = np.zeros(tuple(out["shape"][1:]), out["dtype"])
        self._network = np.zeros((BINS, touched, len(self._output_scales)), np.float32)
        self._refined = np.zeros(PREDICT_SAMPLES, np.float32)
        context = np.zeros(self.context_samples, np.float32)
        context[-1] = 0.5
        self.refine(context, context, np.zeros(predict_samples, np.float32), np.empty(predict_samples, np.float32))

    def refine(
        self,
        context: NDArray[np.float32],
        concealed: NDArray[np.float32],
        prediction: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> bool:
        """See the protocol. Samples after the 1024th of ``out`` are the prediction's."""
        past = self._past
        self._chunk[:past] = context[-past:]
        self._chunk[past:] = prediction[:PREDICT_SAMPLES]
        self._concealed[:past] = concealed[-past:]
        peak = max(self._chunk.max(), -self._chunk.min(), np.float32(1e-6))
        self._analyse(np.float32(1.0) / peak, context, concealed)
        self._run()
        if self._residual:
            kernels.residual_output(self._network, self._level, self._real, self._imaginary)
        else:
            if self._repetition is not None:
                kernels.mix_repetition(
                    self._network, self._other_real, self._other_imaginary, self._real, self._imaginary
                )
            kernels.remagnify(self._network, self._scale, self._kind, self._real, self._imaginary)
        self._synthesise(peak, prediction[:PREDICT_SAMPLES])
        np.copyto(out, prediction)
        out[:PREDICT_SAMPLES] = self._refined
        return bool(is_plausible(self._refined, context, prediction))

    def _analyse(self, gain: np.float32, history: NDArray[np.float32], concealed: NDArray[np.float32]) -> None:
        """The spectrum of ``gain`` times the chunk, and what the network sees of it."""
        self._transform(self._chunk, gain, self._real, self._imaginary)
        if self._relative:
            kernels.levels(self._real, self._imaginary, self._touched, self._loudest, self._level)
            kernels.mean_columns(self._concealed, FFT_SAMPLES, self._hop, self._mask)
            kernels.relative_input(
                self._real, self._imaginary, self._level, self._loudest, self._mask, self._complex_channels,
                self._input_factors, self._quantised, self._fed,
            )  # fmt: skip
            if self._repetition is not None:
                match = np.float32(self._repetition.find(history, concealed, self._found))
                self._transform(self._found, gain, self._other_real, self._other_imaginary)
                kernels.repetition_input(
                    self._real, self._imaginary, self._other_real, self._other_imaginary, self._level, match,
                    self._complex_channels + INPUTS["relative"], self._input_factors, self._quantised, self._fed,
                )  # fmt: skip
        else:
            kernels.magnitude_input(
                self._real, self._imaginary, self._scale, self._input_factors, self._quantised, self._fed
            )

    def _transform(
        self,
        samples: NDArray[np.float32],
        gain: np.float32,
        into_real: NDArray[np.float32],
        into_imaginary: NDArray[np.float32],
    ) -> None:
        """The spectrum of ``gain`` times ``samples`` [shape=(chunk,)]."""
        real, imaginary, real_out, imaginary_out = self._forward
        kernels.frame_pairs(samples, gain, self._window, self._hop, real, imaginary)
        fft_columns(real, imaginary, self._roots, real_out, imaginary_out)
        split_spectra(real_out, imaginary_out, into_real, into_imaginary)

    def _run(self) -> None:
        """The network. Its tensors may be looked at only between runs: the views go at once."""
        np.copyto(self._input()[0], self._fed)
        self._interpreter.invoke()
        np.copyto(self._raw, self._output()[0])
        kernels.dequantise(self._raw, self._output_scales, self._fine, self._network)

    def _synthesise(self, peak: np.float32, prediction: NDArray[np.float32]) -> None:
        """The refined spectrum's last 1024 samples."""
        real, imaginary, real_out, imaginary_out = self._backward
        first = self._columns - self._touched
        merge_spectra(self._real[:, first:], self._imaginary[:, first:], real, imaginary)
        fft_columns(imaginary, real, self._roots, imaginary_out, real_out)
        kernels.overlap_add(
            real_out, imaginary_out, self._window, self._hop, peak * self._weight, self._fade_in, prediction,
            self._refined,
        )  # fmt: skip


def _per_code(tensor: dict[str, Any]) -> float:
    """What one code of an int8 ``tensor`` stands for; its zero point is zero."""
    scale, zero_point = tensor["quantization"]
    if zero_point != 0:
        raise InputError("the network's input and output must have zero point 0: convert it with `continuo convert`")
    return float(scale)
