"""Memory that processes share: a mapped file, carved into blocks by name, found again by whoever comes back."""

import mmap
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, RunError

__all__ = ["SharedMemory"]

_MAGIC = 0x4F55_4E49_544E_4F43  # "CONTINUO", little-endian
_VERSION = 1
_LINE_BYTES = 64
_HEADER_BYTES = 64


class SharedMemory:
    """A mapped file of named blocks; every process that asks for the same blocks finds the same memory.

    Not ``multiprocessing.shared_memory``: its tracker removes the memory when any of the processes ends, and here each
    may die and come back.

    Parameters
    ----------
    path
        The file, best on a tmpfs such as ``/dev/shm``: what is written there must not reach a disk.
    blocks
        Bytes per block by name. The layout follows from it, in its order, each block on a cache line of its own.
    create
        Make the file anew, all zeros, readable by its owner alone; an older one of that name goes its own way with
        those that still map it. Else attach to what is there.

    Raises
    ------
    RunError
        When the file cannot be made.
    InputError
        When there is none to attach to, or it has another layout.
    """

    def __init__(self, path: Path, blocks: Mapping[str, int], *, create: bool) -> None:
        self.path = path
        self._offsets: dict[str, tuple[int, int]] = {}
        end = _HEADER_BYTES
        for name, size in blocks.items():
            self._offsets[name] = (end, size)
            end += -(-size // _LINE_BYTES) * _LINE_BYTES
        header = np.array([_MAGIC, _VERSION, end, _digest(blocks)], np.uint64)
        if create:
            self._map = self._created(end)
            np.frombuffer(self._map, np.uint64, len(header))[:] = header
        else:
            self._map = self._attached(end, header)

    def block(self, name: str) -> NDArray[np.uint8]:
        """The memory of a block [shape=(its bytes,)], writable."""
        offset, size = self._offsets[name]
        return np.frombuffer(self._map, np.uint8, size, offset)

    def unlink(self) -> None:
        """Remove the file's name; the memory stays with those that map it."""
        self.path.unlink(missing_ok=True)

    def _created(self, size: int) -> mmap.mmap:
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, size)  # a full tmpfs says so here, not by SIGBUS in the audio
                mapped = mmap.mmap(descriptor, size)
            finally:
                os.close(descriptor)
            temporary.replace(self.path)
        except OSError as error:
            raise RunError(f"{self.path}: cannot make {size} bytes of shared memory: {error.strerror}") from None
        return mapped

    def _attached(self, size: int, header: NDArray[np.uint64]) -> mmap.mmap:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise InputError(f"{self.path}: no shared memory to attach to: {error.strerror}") from None
        try:
            if os.fstat(descriptor).st_size != size:
                raise InputError(f"{self.path} is the memory of another configuration")
            mapped = mmap.mmap(descriptor, size)
        finally:
            os.close(descriptor)
        if not np.array_equal(np.frombuffer(mapped, np.uint64, len(header)), header):
            raise InputError(f"{self.path} is the memory of another configuration")
        return mapped


def _digest(blocks: Mapping[str, int]) -> int:
    """FNV-1a over names and sizes: the same in every process."""
    value = 0xCBF2_9CE4_8422_2325
    for byte in repr(list(blocks.items())).encode():
        value = (value ^ byte) * 0x100_0000_01B3 % (1 << 64)
    return value
