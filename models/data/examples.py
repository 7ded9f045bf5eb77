"""Examples made once and kept: on two cores, making each anew would take half the time."""

import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...firmware_py.atomic import atomic_path
from ...firmware_py.rt.refinement import PREDICT_SAMPLES
from .folder import AudioFolder
from .packets import Batch, PacketLosses

__all__ = ["StoredExamples"]

PAST_SAMPLES = 3584
"""Seven packets: as much as any refiner's chunk holds at 44.1 kHz."""
AT_ONCE = 64
EDITION = 2
"""Of what an example holds: the next one when `PacketLosses` makes others, or old files would be taken for new."""
_maker: PacketLosses


class StoredExamples:
    """The first ``count`` examples of a `PacketLosses`, in a file that every run with the same data and seed shares.

    Batches draw from them without repetition, in another order each time through; batch n is always the same.

    Parameters
    ----------
    store : Path, the folder that holds such files; what is missing is made, on all cores
    files : the audio; the file's name changes with their names and sizes
    folder : AudioFolder, the same loaded
    method, seed, repetition : as `PacketLosses`
    count : int
    progress : called with each number of examples just made
    """

    def __init__(
        self,
        store: Path,
        files: Sequence[Path],
        folder: AudioFolder,
        method: str,
        seed: int,
        count: int,
        repetition: bool = False,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._seed, self._count, self._repetition = seed, count, repetition
        chunk_samples = PAST_SAMPLES + PREDICT_SAMPLES
        audio = zlib.crc32(repr([(p.name, p.stat().st_size) for p in files]).encode())
        kind = "repetition-" if repetition else ""
        path = store / f"{method}-{kind}{folder.sample_rate_hz}-{audio:08x}-{seed}-{count}-v{EDITION}.npy"
        fields: list[Any] = [
            ("chunk", "<f4", chunk_samples),
            ("concealed", "u1", chunk_samples),
            ("truth", "<f4", PREDICT_SAMPLES),
        ]
        if repetition:
            fields += [("repetition", "<f4", chunk_samples), ("match", "<f4")]
        dtype = np.dtype(fields)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=(count,))
                for start, made in _make(folder, method, seed, count, repetition):
                    for name, column in made.items():
                        rows[name][start : start + len(column)] = column
                    if progress is not None:
                        progress(len(made["chunk"]))
                rows.flush()
        self._rows: NDArray[np.void] = np.load(path, mmap_mode="r")

    def batches(self, batch: int, first_step: int, steps: int, past_samples: int) -> Iterator[Batch]:
        """Batches ``first_step`` to ``steps``, chunks with ``past_samples`` of past."""
        order = functools.lru_cache(maxsize=2)(
            lambda number: np.random.default_rng((self._seed, number)).permutation(self._count)
        )
        start = PAST_SAMPLES - past_samples
        for step in range(first_step, steps):
            places = (divmod(place, self._count) for place in range(step * batch, (step + 1) * batch))
            rows = self._rows[np.sort([order(number)[place] for number, place in places])]
            column = {name: torch.from_numpy(rows[name].astype(np.float32)) for name in rows.dtype.names or ()}
            for name in ("chunk", "concealed", *(["repetition"] if self._repetition else [])):
                column[name] = column[name][:, start:]
            yield Batch(**column)


def _make(
    folder: AudioFolder, method: str, seed: int, count: int, repetition: bool
) -> Iterator[tuple[int, dict[str, NDArray[np.float32]]]]:
    starts = range(0, count, AT_ONCE)
    with ProcessPoolExecutor(
        mp_context=get_context("spawn"), initializer=_prepare, initargs=(folder, method, seed, repetition)
    ) as pool:
        made = pool.map(_examples, [range(s, min(s + AT_ONCE, count)) for s in starts])
        yield from zip(starts, made, strict=True)


def _prepare(folder: AudioFolder, method: str, seed: int, repetition: bool) -> None:
    global _maker  # noqa: PLW0603 (one per process)
    _maker = PacketLosses(folder, method, PAST_SAMPLES, seed, repetition=repetition)


def _examples(indices: range) -> dict[str, NDArray[np.float32]]:
    return {name: column.numpy() for name, column in vars(_maker.batch(indices)).items() if column is not None}
