"""What ``continuo train`` does once torch is there."""

import os
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from lightning.fabric import Fabric

from ..firmware_py.errors import InputError
from .experiment import Experiment, load_experiment
from .train import CHECKPOINT, Schedule, train

__all__ = ["main"]

SMOKE_STEPS = 12
SMOKE_EXAMPLES = 48
BUNDLED = Path(__file__).parent.parent / "firmware_py" / "assets"


def main(
    experiment: str,
    *,
    data: Path | None,
    out: Path | None,
    steps: int | None,
    fresh: bool,
    warm_start: Path | None,
    smoke: bool,
    precision: str,
) -> None:
    """Run one experiment; says on stderr where the results went.

    Raises
    ------
    InputError
        For an unknown experiment, without data, or for weights to start from that do not fit.
    """
    if smoke:
        with tempfile.TemporaryDirectory() as folder:
            small = load_experiment(experiment, batch=2, examples=SMOKE_EXAMPLES)
            best = _smoke(small, out or Path(folder) / "run", precision)
            print(f"smoke run of {experiment}: trained, validated, resumed, exported {best.name}", file=sys.stderr)  # noqa: T201
        return
    settings = load_experiment(experiment, **({} if steps is None else {"steps": steps}))
    if data is None:
        if "CONTINUO_DATA" not in os.environ:
            raise InputError("give the folder of audio to train on: --data DIR, or set CONTINUO_DATA")
        data = Path(os.environ["CONTINUO_DATA"]) / "train"
    out = out or Path("runs") / settings.name
    if fresh and out.exists():
        shutil.rmtree(out)
    fabric = Fabric(precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    best = train(settings, data, out, fabric, Schedule(), resume=True, warm_start=warm_start)
    print(f"best weights: {best}; curves: tensorboard --logdir {out}", file=sys.stderr)  # noqa: T201


def _smoke(experiment: Experiment, out: Path, precision: str) -> Path:
    """Half the steps, then the rest from the checkpoint, as after an interruption."""
    schedule = Schedule(log=2, checkpoint=3, validate=6, validation_clips=1, validation_seconds=2.0)
    fabric = Fabric(precision=precision)  # type: ignore[arg-type]
    fabric.launch()
    for steps in (SMOKE_STEPS // 2, SMOKE_STEPS):
        best = train(_with_steps(experiment, steps), BUNDLED, out, fabric, schedule, resume=True)
    if not (out / CHECKPOINT).exists() or not best.exists():
        raise InputError(f"the smoke run left no weights in {out}")
    return best


def _with_steps(experiment: Experiment, steps: int) -> Experiment:
    return replace(experiment, steps=steps, adversarial_from=0)
