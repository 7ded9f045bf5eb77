"""An experiment is a small TOML file over one base: ``models/experiments``."""

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..firmware_py.errors import InputError
from .bin2bin.refiner import RefinerConfig

__all__ = ["Experiment", "load_experiment"]

FOLDER = Path(__file__).parent / "experiments"


@dataclass(frozen=True)
class Losses:
    """Weights of the terms; 0 leaves a term out."""

    convergence: float = 10.0
    """Of spectral convergence (paper: 10)."""
    log_magnitude: float = 10.0
    """Paper: 10."""
    adversarial: float = 1.0
    """Paper: 1."""
    waveform: float = 0.0
    mel: float = 0.0
    """Only with ``columns = "gap"``: it needs the bin at half the sample rate, which the network does not give."""
    pooled: bool = False
    """Whether waveform and mel count as the metrics do, over all examples together (`losses.pooled_error`)."""
    columns: str = "all"
    """``all``: of the network's spectrogram, as the paper has it; ``gap``: of the signal that the listener gets,
    prediction joined to the next packet, where a window touches the gap."""


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a training run."""

    name: str
    method: str = "lpc-paper"
    """Whose predictor stands before the refiner."""
    refiner: RefinerConfig = field(default_factory=RefinerConfig)
    losses: Losses = field(default_factory=Losses)
    sample_rate_hz: int = 44_100
    steps: int = 30_000
    """Of the generator."""
    batch: int = 16
    learning_rate: float = 2e-4
    """Falls to half by a cosine over the run."""
    generator_steps: int = 10
    """Generator updates for each one of the discriminator's (paper: n_G)."""
    adversarial_from: int = 0
    """Generator step at which the adversarial term joins."""
    ema: float = 0.999
    examples: int = 0
    """Make so many examples once, keep them beside the run, and draw from them; 0: every batch is new."""
    seed: int = 0


def load_experiment(name: str, **changes: Any) -> Experiment:
    """Read experiment ``name`` (a file in ``models/experiments``, or a path ending in .toml); ``changes`` override it.

    Raises
    ------
    InputError
        For a name that is no experiment, or a key that is no setting.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.toml")))
        raise InputError(f"no experiment is called '{name}': choose from {known}, or give the path of a .toml file")
    try:
        settings = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    settings = {"name": path.stem, **settings, **changes}
    for key, kind in (("refiner", RefinerConfig), ("losses", Losses)):
        settings[key] = _build(kind, settings.get(key, {}), f"{path}, [{key}]")
    if settings["losses"].columns not in ("all", "gap"):
        raise InputError(f"{path}, [losses]: columns is {settings['losses'].columns!r}: choose from all, gap")
    if settings["losses"].columns == "all" and settings["losses"].mel:
        raise InputError(f'{path}, [losses]: mel works on columns = "gap" alone: set that, or mel = 0')
    return _build(Experiment, settings, str(path))


def _build(kind: Any, settings: dict[str, Any], where: str) -> Any:
    known = {f.name for f in dataclasses.fields(kind)}
    if unknown := sorted(set(settings) - known):
        raise InputError(f"{where}: unknown setting '{unknown[0]}'; there are {', '.join(sorted(known))}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
