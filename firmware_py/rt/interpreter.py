"""The one place that imports a TFLite interpreter: ai-edge-litert, or its predecessor tflite-runtime."""

import importlib
from typing import Any

from ..errors import InputError, MissingError
from .hush import hushed_stderr

__all__ = ["load_interpreter"]

PACKAGES = ("ai_edge_litert", "tflite_runtime")


def load_interpreter(model: bytes, threads: int = 1) -> Any:
    """An interpreter of ``model`` with its tensors allocated: nothing is allocated after this.

    tflite-runtime 2.14, its last release, has no transposed convolution of int8 weights with float activations: it runs
    files in float and in int8, not those with int8 weights alone.

    Raises
    ------
    MissingError
        When neither package is installed.
    InputError
        For what is no network, or one that the installed package cannot run.
    """
    for package in PACKAGES:
        try:
            module = importlib.import_module(f"{package}.interpreter")
        except ImportError:
            continue
        try:
            with hushed_stderr():  # it tells every user which delegate it has chosen
                interpreter = module.Interpreter(model_content=model, num_threads=threads)
                interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise InputError(
                f"{package} cannot run this network ({reason}): try ai-edge-litert, or convert it anew"
            ) from None
        return interpreter
    raise MissingError("running a .tflite file needs an interpreter: pip install ai-edge-litert")
