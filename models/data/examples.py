"""Examples made once and kept: on two cores, making each anew would take half the time."""

import functools
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

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
_maker: PacketLosses


class StoredExamples:
    """The first ``count`` examples of a `PacketLosses`, in a file that every run with the same data and seed shares.

    Batches draw from them without repetition, in another order each time through; batch n is always the same.

    Parameters
    ----------
    store : Path, the folder that holds such files; what is missing is made, on all cores
    files : the audio; the file's name changes with their names and sizes
    folder : AudioFolder, the same loaded
    method, seed : as `PacketLosses`
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
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self._seed, self._count = seed, count
        chunk_samples = PAST_SAMPLES + PREDICT_SAMPLES
        audio = zlib.crc32(repr([(p.name, p.stat().st_size) for p in files]).encode())
        path = store / f"{method}-{folder.sample_rate_hz}-{audio:08x}-{seed}-{count}.npy"
        dtype = np.dtype(
            [("chunk", "<f4", chunk_samples), ("concealed", "u1", chunk_samples), ("truth", "<f4", PREDICT_SAMPLES)]
        )
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as temporary:
                rows = np.lib.format.open_memmap(temporary, mode="w+", dtype=dtype, shape=(count,))
                for start, made in _make(folder, method, seed, count):
                    for name, column in zip(("chunk", "concealed", "truth"), made, strict=True):
                        rows[name][start : start + len(column)] = column
                    if progress is not None:
                        progress(len(made[0]))
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
            chunk, concealed, truth = (
                torch.from_numpy(rows[name].astype(np.float32)) for name in ("chunk", "concealed", "truth")
            )
            yield Batch(chunk[:, start:], concealed[:, start:], truth)


def _make(
    folder: AudioFolder, method: str, seed: int, count: int
) -> Iterator[tuple[int, tuple[NDArray[np.float32], ...]]]:
    starts = range(0, count, AT_ONCE)
    with ProcessPoolExecutor(
        mp_context=get_context("spawn"), initializer=_prepare, initargs=(folder, method, seed)
    ) as pool:
        made = pool.map(_examples, [range(s, min(s + AT_ONCE, count)) for s in starts])
        yield from zip(starts, made, strict=True)


def _prepare(folder: AudioFolder, method: str, seed: int) -> None:
    global _maker  # noqa: PLW0603 (one per process)
    _maker = PacketLosses(folder, method, PAST_SAMPLES, seed)


def _examples(indices: range) -> tuple[NDArray[np.float32], ...]:
    batch = _maker.batch(indices)
    return batch.chunk.numpy(), batch.concealed.numpy(), batch.truth.numpy()
