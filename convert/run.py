"""Files run as they are: ONNX by onnxruntime, TFLite by the board's interpreter, both with torch's layout outside."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor

from ..firmware_py.rt.interpreter import load_interpreter

__all__ = ["run_onnx", "run_tflite"]


def run_onnx(path: Path, spectrograms: Tensor) -> dict[str, Tensor]:
    """Every output of the file at ``path`` by name, for network inputs [shape=(n, channels, bins, columns)]."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    runs = [session.run(names, {"spectrogram": x[None].numpy()}) for x in spectrograms]
    return {name: torch.from_numpy(np.concatenate([run[i] for run in runs])) for i, name in enumerate(names)}


def run_tflite(contents: bytes, spectrograms: Tensor) -> Tensor:
    """The file's output, dequantised, for network inputs [both shape=(n, channels, bins, columns)]."""
    interpreter = load_interpreter(contents)
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    results = []
    for spectrogram in spectrograms:
        x = spectrogram.permute(1, 2, 0)[None].numpy()
        if into["dtype"] == np.int8:
            scale, zero_point = into["quantization"]
            x = np.clip(np.round(x / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
        interpreter.set_tensor(into["index"], np.ascontiguousarray(x))
        interpreter.invoke()
        y = interpreter.get_tensor(out["index"])
        if out["dtype"] == np.int8:
            scale, zero_point = out["quantization"]
            y = (y.astype(np.float32) - zero_point) * np.float32(scale)
        results.append(y)
    return torch.from_numpy(np.concatenate(results)).permute(0, 3, 1, 2)
