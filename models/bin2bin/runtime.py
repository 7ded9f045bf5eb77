"""A trained refiner in the concealer's seam, run by torch: for the simulator and the evaluation, not for the box."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...firmware_py.atomic import atomic_path
from ...firmware_py.errors import InputError
from ...firmware_py.rt.refinement import PREDICT_SAMPLES, is_plausible
from ...firmware_py.rt.repetition import HISTORY_SAMPLES, Repetition
from ...firmware_py.rt.spec import StreamSpec
from ...firmware_py.rt.timing import Rung
from .refiner import Refiner, RefinerConfig

__all__ = ["TorchRefiner", "load_card", "load_weights", "save_weights"]

WEIGHTS = Path(__file__).parent.parent / "weights"
SCALE = ".scale"


def save_weights(refiner: Refiner, path: Path, card: dict[str, object], int8: bool = False) -> None:
    """Write ``refiner`` with its configuration and ``card`` (steps, data, metrics) as .npz, in 16 bits.

    Biases and the normalisations' statistics keep their 32: a variance can be over 65,504, the most that 16 bits hold.
    With ``int8`` the convolutions' weights are stored in 8 bits, each with a scale per index of its first axis: half
    the size, 40 dB signal-to-noise ratio; for a network of 54 million parameters.
    """
    config = {"refiner": vars(refiner.config), "card": card}
    arrays: dict[str, NDArray[np.generic]] = {}
    for name, value in refiner.generator.state_dict().items():
        if int8 and value.dim() == 4:
            scale = (value.abs().amax(dim=(1, 2, 3), keepdim=True) / 127).clamp_min(1e-12).cpu()
            arrays[name] = (value.cpu() / scale).round().numpy().astype(np.int8)
            arrays[name + SCALE] = scale.numpy()
        else:
            array = value.detach().cpu().numpy()
            arrays[name] = array.astype(np.float16) if value.dim() > 1 else array
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, config=np.array(json.dumps(config)), **arrays)


def load_weights(path: Path) -> Refiner:
    """Read what `save_weights` wrote; the refiner is ready to run (eval mode).

    Raises
    ------
    InputError
        When ``path`` is no such file, or holds what is not finite.
    """
    config, state = _read(path)
    for name, value in state.items():
        if not value.isfinite().all():
            raise InputError(f"{path}: {name} is not finite: the training went wrong, or the file is damaged")
    settings = config["refiner"]
    refiner = Refiner(RefinerConfig(**{**settings, "widths": tuple(settings["widths"])}))
    refiner.generator.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()})
    return refiner.eval()


def load_card(path: Path) -> dict[str, Any]:
    """The model card that `save_weights` wrote: experiment, steps, metrics. InputError as for `load_weights`."""
    card: dict[str, Any] = _read(path)[0]["card"]
    return card


class TorchRefiner:
    """`continuo.firmware_py.rt.concealer.Refiner` around a `Refiner` network."""

    def __init__(self, network: Refiner, rung: Rung) -> None:
        self.rung = rung
        self._network = network
        self._repetition = Repetition() if network.config.repetition else None
        self._past = network.spectrum.past_samples
        self.context_samples = self._past if self._repetition is None else HISTORY_SAMPLES

    def prepare(self, spec: StreamSpec, predict_samples: int) -> None:
        """Allocate and run once. The network learned at 44.1 kHz; other rates run as well."""
        del spec
        self._chunk = torch.zeros(1, self._network.spectrum.chunk_samples)
        self._concealed = torch.ones_like(self._chunk)
        self._found = torch.zeros_like(self._chunk)
        if self._repetition is not None:
            self._repetition.prepare(self._past)
        zeros = np.zeros(max(self.context_samples, predict_samples), np.float32)
        context = zeros[: self.context_samples]
        self.refine(context, context, zeros[:predict_samples], np.empty(predict_samples, np.float32))

    def refine(
        self,
        context: NDArray[np.float32],
        concealed: NDArray[np.float32],
        prediction: NDArray[np.float32],
        out: NDArray[np.float32],
    ) -> bool:
        """See the protocol. Samples after the 1024th of ``out`` are the prediction's."""
        past = self._past
        self._chunk[0, :past] = torch.from_numpy(context[-past:])
        self._chunk[0, past:] = torch.from_numpy(prediction[:PREDICT_SAMPLES])
        self._concealed[0, :past] = torch.from_numpy(concealed[-past:])
        match = 0.0 if self._repetition is None else self._repetition.find(context, concealed, self._found[0].numpy())
        with torch.inference_mode():
            refined = self._network(self._chunk, self._concealed, self._found, torch.tensor([match]))[0].numpy()
        out[:] = prediction
        out[:PREDICT_SAMPLES] = refined
        return bool(is_plausible(refined, context, prediction))


def _read(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            config = json.loads(str(arrays["config"]))
            state = {name: torch.from_numpy(arrays[name]) for name in arrays.files if name != "config"}
            for name in [name for name in state if name.endswith(SCALE)]:
                state[name.removesuffix(SCALE)] = state[name.removesuffix(SCALE)].float() * state.pop(name)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist: write weights with `continuo train`, or give their path") from None
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} holds no refiner's weights ({error}): write them with `continuo train`") from None
    return config, state
