"""``continuo convert``: hands over to the folder that may import torch and the converter."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError, MissingError

__all__ = ["convert_command"]


def convert_command(
    model: Annotated[str, typer.Argument(help="A name in models/weights, or the path of an .npz file.")],
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of audio to calibrate on, searched recursively; default: train/ below $CONTINUO_DATA."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the files; default converted/MODEL.")] = None,
    tune: Annotated[
        int, typer.Option(metavar="STEPS", min=0, help="Quantisation-aware training: this many steps before int8.")
    ] = 0,
    report: Annotated[
        bool, typer.Option("--report", help="Measure the accuracy, write report.html, and fail if it is too low.")
    ] = False,
    clips: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --report: recordings to compare float and int8 on ...")
    ] = None,
    traces: Annotated[Path | None, typer.Option(metavar="DIR", help="... and their traces.")] = None,
    budget: Annotated[
        str | None, typer.Option(metavar="pi4|pi5|PACKET@RATE", help="Predict the time that the network takes there.")
    ] = None,
    smoke: Annotated[bool, typer.Option(help="On the bundled audio, and little of it: shows that it runs.")] = False,
) -> None:
    """Bring a trained network to the board: ONNX, then TFLite in float, with int8 weights, and in int8."""
    if (clips is None) != (traces is None):
        raise InputError("--clips and --traces belong together: give both, or neither")
    if clips and not report:
        raise InputError("--clips and --traces are for --report: add it, or leave them out")
    main: Any
    try:
        from ...convert.command import main  # noqa: PLC0415 (torch, onnx: extra convert)
    except ImportError as error:
        raise MissingError(
            f"converting needs {error.name or 'torch'}: pip install 'continuo-nmp[convert]' (torch==2.13.0 for a CPU "
            "build)"
        ) from None
    main(
        model, data=data, out=out, tune_steps=tune, report=report, clips=clips, traces=traces, target=budget,
        smoke=smoke,
    )  # fmt: skip
