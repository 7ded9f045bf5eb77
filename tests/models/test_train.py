"""Training through the real command line, and exact resumption."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from continuo.firmware_py.errors import InputError
from continuo.models.bin2bin.runtime import load_weights
from continuo.models.command import BUNDLED
from continuo.models.experiment import load_experiment
from continuo.models.train import Schedule, train
from continuo.models.validate import Validation

SMALL = {"batch": 2, "examples": 16}
SCHEDULE = Schedule(log=2, checkpoint=2, validate=4, validation_clips=1, validation_seconds=1.0)


def run(*args: str) -> "subprocess.CompletedProcess[str]":
    continuo = Path(sys.executable).with_name("continuo")
    return subprocess.run([continuo, "train", *args], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("experiment", ["bin2bin-lite", "bin2bin-lite-paper"])
def test_smoke(experiment: str, tmp_path: Path) -> None:
    done = run(experiment, "--smoke", "--out", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    refiner = load_weights(tmp_path / "run" / "best.npz")
    noise = 0.1 * torch.randn(1, refiner.spectrum.chunk_samples)
    concealed, repetition = torch.zeros_like(noise), torch.roll(noise, 100)
    assert torch.isfinite(refiner(noise, concealed, repetition, torch.tensor([0.8]))).all()
    assert {p.suffix for p in (tmp_path / "run").iterdir()} >= {".npz", ".pt", ".csv"}


@pytest.mark.parametrize(
    ("args", "word"),
    [(["nonsense"], "experiment"), (["bin2bin-lite"], "--data"), (["bin2bin-lite", "--data", "/nowhere"], "folder")],
)
def test_bad_input(args: list[str], word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CONTINUO_DATA", raising=False)
    done = run(*args)
    assert done.returncode == 2
    assert word in done.stderr
    assert "Traceback" not in done.stderr


def test_resuming_gives_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    experiment = load_experiment("bin2bin-lite", steps=6, adversarial_from=0, **SMALL)
    train(experiment, BUNDLED, tmp_path / "straight", fabric, SCHEDULE, resume=False)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Validation, "run", interrupt)  # at step 4, after the checkpoint of step 2
        with pytest.raises(KeyboardInterrupt):
            train(experiment, BUNDLED, tmp_path / "halved", fabric, SCHEDULE, resume=False)
    train(experiment, BUNDLED, tmp_path / "halved", fabric, SCHEDULE, resume=True)
    one, two = (np.load(tmp_path / name / "last.npz") for name in ("straight", "halved"))
    for name in one.files:
        if name != "config":
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)


def test_another_experiments_run_is_not_continued(tmp_path: Path) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    train(load_experiment("bin2bin-lite", steps=2, **SMALL), BUNDLED, tmp_path, fabric, SCHEDULE, resume=False)
    with pytest.raises(InputError, match="learning_rate"):
        train(
            load_experiment("bin2bin-lite", steps=4, learning_rate=1e-3, **SMALL),
            BUNDLED, tmp_path, fabric, SCHEDULE, resume=True,
        )  # fmt: skip


def test_warm_start_begins_from_the_weights(tmp_path: Path) -> None:
    fabric = Fabric(accelerator="cpu", devices=1, precision="32-true")
    experiment = load_experiment("bin2bin-lite", steps=4, learning_rate=1e-2, **SMALL)
    first = train(experiment, BUNDLED, tmp_path / "first", fabric, SCHEDULE, resume=False)
    still = load_experiment("bin2bin-lite", steps=1, learning_rate=0.0, **SMALL)
    second = train(still, BUNDLED, tmp_path / "second", fabric, SCHEDULE, resume=True, warm_start=first)
    before, after = (load_weights(path).generator.last.weight for path in (first, second))
    assert before.abs().max() > 0
    assert torch.equal(before, after)
    paper = load_experiment("bin2bin-lite-paper", steps=1, **SMALL)
    with pytest.raises(InputError, match="another network"):
        train(paper, BUNDLED, tmp_path / "third", fabric, SCHEDULE, resume=False, warm_start=first)
