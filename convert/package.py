"""The file that the board loads: the network, and at its end an archive that says what belongs around it."""

import io
import json
import zipfile
from dataclasses import asdict
from pathlib import Path

from ..firmware_py.atomic import atomic_path
from ..firmware_py.rt.refiner_tflite import SETTINGS
from ..models.bin2bin.refiner import RefinerConfig
from .folded import Folded

__all__ = ["write_package"]

MADE = (2000, 1, 1, 0, 0, 0)
"""In the archive, so that the same weights give the same file."""


def write_package(path: Path, contents: bytes, config: RefinerConfig, network: Folded) -> None:
    """Write ``contents`` (a TFLite file) to ``path`` with the settings that `TfliteRefiner` needs behind it.

    An archive at the end of the file is where TFLite's metadata convention keeps associated files: an interpreter does
    not look there, and any unzip does (https://ai.google.dev/edge/litert/conversion/tensorflow/metadata).
    """
    settings = {
        "refiner": asdict(config),
        "input_scale": [float(v) for v in network.input_scale],
        "output_scale": [float(v) for v in network.output_scale],
        "fine": network.fine,
    }
    archive = io.BytesIO()
    archive.write(contents)
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr(zipfile.ZipInfo(SETTINGS, MADE), json.dumps(settings, indent=1))
    with atomic_path(path) as temporary:
        temporary.write_bytes(archive.getvalue())
