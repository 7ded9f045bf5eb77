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


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(InputError, match="bin2bin-lite"):
        load_experiment("nonsense")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[refiner]\nhopp = 3\n", "hopp"),
        ("= 3", "TOML"),
        ('[losses]\nmel = 1.0\ncolumns = "all"\n', "gap"),
        ('[losses]\ncolumns = "gpa"\n', "choose from all, gap"),
    ],
)
def test_a_wrong_file_is_refused(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        load_experiment(str(path))
