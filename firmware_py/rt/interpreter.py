"""The one place that imports a TFLite interpreter: ai-edge-litert, or its predecessor tflite-runtime."""

import importlib
from typing import Any

from ..errors import MissingError

__all__ = ["load_interpreter"]

PACKAGES = ("ai_edge_litert", "tflite_runtime")


def load_interpreter(model: bytes, threads: int = 1) -> Any:
    """An interpreter of ``model`` with its tensors allocated: nothing is allocated after this.

    Raises
    ------
    MissingError
        When neither package is installed.
    """
    for package in PACKAGES:
        try:
            module = importlib.import_module(f"{package}.interpreter")
        except ImportError:
            continue
        interpreter = module.Interpreter(model_content=model, num_threads=threads)
        interpreter.allocate_tensors()
        return interpreter
    raise MissingError("running a .tflite file needs an interpreter: pip install ai-edge-litert")
