"""Experiments are small files; a wrong key is an error that names the right ones."""

from pathlib import Path

import pytest

from continuo.firmware_py.errors import InputError
from continuo.models.experiment import FOLDER, load_experiment


@pytest.mark.parametrize("name", sorted(p.stem for p in FOLDER.glob("*.toml")))
def test_every_experiment_loads(name: str) -> None:
    assert load_experiment(name).name == name


def test_paper_is_the_papers() -> None:
    paper = load_experiment("bin2bin-lite-paper")
    assert (paper.batch, paper.learning_rate, paper.generator_steps) == (16, 2e-4, 10)
    assert (paper.losses.convergence, paper.losses.adversarial, paper.refiner.hop) == (10.0, 1.0, 16)


def test_unknown_names_and_keys(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="bin2bin-lite"):
        load_experiment("nonsense")
    path = tmp_path / "mine.toml"
    path.write_text("[refiner]\nhopp = 3\n")
    with pytest.raises(InputError, match="hopp"):
        load_experiment(str(path))
    path.write_text("= 3")
    with pytest.raises(InputError, match="TOML"):
        load_experiment(str(path))
    path.write_text('[losses]\nmel = 1.0\ncolumns = "all"\n')
    with pytest.raises(InputError, match="gap"):
        load_experiment(str(path))
    path.write_text('[losses]\ncolumns = "gpa"\n')
    with pytest.raises(InputError, match="choose from all, gap"):
        load_experiment(str(path))
