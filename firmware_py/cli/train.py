"""``continuo train``: hands over to the folder that may import torch."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import MissingError

__all__ = ["train_command"]


def train_command(
    experiment: Annotated[str, typer.Argument(help="A name in models/experiments, or the path of a .toml file.")],
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of audio to train on, searched recursively; default: train/ below $CONTINUO_DATA."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the run; default runs/EXPERIMENT.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Generator steps, instead of the experiment's.")] = None,
    fresh: Annotated[bool, typer.Option(help="Start anew where a checkpoint exists; default: go on from it.")] = False,
    warm_start: Annotated[
        Path | None,
        typer.Option(help="Weights (.npz) to begin from where there is no checkpoint; steps are counted from 0."),
    ] = None,
    smoke: Annotated[
        bool, typer.Option(help="A few steps on the bundled audio: train, validate, stop, resume, export.")
    ] = False,
    precision: Annotated[str, typer.Option(help="Lightning Fabric's: bf16-mixed, 32-true, ...")] = "bf16-mixed",
) -> None:
    """Train a network; go on from the checkpoint if the run was interrupted."""
    main: Any
    try:
        from ...models.command import main  # noqa: PLC0415 (torch: extra train)
    except ImportError as error:
        raise MissingError(
            f"training needs {error.name or 'torch'}: pip install 'continuo-nmp[train]' (torch==2.13.0 for a CPU build)"
        ) from None
    main(
        experiment,
        data=data,
        out=out,
        steps=steps,
        fresh=fresh,
        warm_start=warm_start,
        smoke=smoke,
        precision=precision,
    )
