"""One recording: what was received and what was played, as FLAC, and which packets were lost, one digit each.

Three files whose names begin with the time of their start::

    2026-01-02_03-04-05_received.flac   zeros where a packet was lost
    2026-01-02_03-04-05_played.flac     what was heard instead
    2026-01-02_03-04-05_trace.txt       a digit per packet, 1 = lost: for `continuo simulate --trace`

While they are written, ``.part`` follows their names. What a killed process or a full disk left behind is made whole
by `repair_takes`: FLAC is readable up to its last frame once its header tells how long it is.
"""

import contextlib
import fcntl
import os
import re
from datetime import datetime
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from ..rt.spec import StreamSpec

__all__ = ["Take", "repair_takes", "take_paths", "unfinished_takes"]

_PART = ".part"
_PARTS = ("received.flac", "played.flac", "trace.txt")
_NAME = re.compile(
    rf"(\d{{4}}-\d\d-\d\d_\d\d-\d\d-\d\d(?:-\d+)?)_(?:received\.flac|played\.flac|trace\.txt)(?:{_PART})?"
)
_PACKET = re.compile(r"packet_samples=(\d+)")
# STREAMINFO, RFC 9639 section 8.2: 8 bytes into the file; the lower 36 bits of its bytes 10 to 17 count the samples,
# bytes 18 to 33 are the MD5 of all of them, zeros if unknown.
_COUNT_OFFSET, _DIGEST_OFFSET = 8 + 13, 8 + 18
_BLOCK_SAMPLES = 4096


def take_paths(folder: Path) -> list[Path]:
    """Every file in the folder that belongs to a take, finished or not."""
    return sorted(path for path in folder.iterdir() if _NAME.fullmatch(path.name))


class Take:
    """A recording that is being written.

    Parameters
    ----------
    folder
        Where to; it must exist.
    spec
        Format of the packets.
    method
        What conceals: the files say so.
    started
        When the first packet played.

    Raises
    ------
    OSError
        When the files cannot be made.
    """

    def __init__(self, folder: Path, spec: StreamSpec, method: str, started: datetime) -> None:
        self.failure: OSError | None = None
        """The disk took no more; nothing more is written then."""
        self.packets = 0
        self._spec = spec
        self._paths, self._trace = _reserve(folder, started)
        self._files = [_File(path) for path in self._paths[:2]]
        comment = f"Continuo, method={method} packet_samples={spec.packet_samples}"
        try:
            self._sounds = [
                soundfile.SoundFile(file, "w", spec.sample_rate_hz, spec.channels, "PCM_24", format="FLAC")
                for file in self._files
            ]
        except soundfile.SoundFileError as error:
            raise OSError(None, str(error)) from error
        for sound in self._sounds:
            sound.comment = comment

    @property
    def bytes(self) -> int:
        """On the disk, so far."""
        return sum(file.size for file in self._files) + self.packets

    def write(self, received: NDArray[np.float32], played: NDArray[np.float32], lost: NDArray[np.bool_]) -> None:
        """Append packets.

        Parameters
        ----------
        received, played : [shape=(packets, packet_samples, channels)], full scale 1
        lost : [shape=(packets,)]
        """
        if self.failure is not None:
            return
        for sound, packets in zip(self._sounds, (received, played), strict=True):
            sound.write(_integers(packets.reshape(-1, self._spec.channels)))
        digits = (np.uint8(ord("0")) + lost).tobytes()
        try:
            if os.write(self._trace, digits) < len(digits):
                raise OSError(None, "no space left")
        except OSError as error:
            self.failure = error
        self.failure = self.failure or self._files[0].failure or self._files[1].failure
        self.packets += len(lost)

    def finish(self) -> list[Path]:
        """Close the files and give them their names; nothing is left of a take without a packet."""
        for sound in self._sounds:
            with contextlib.suppress(soundfile.SoundFileError):
                sound.close()
        for file in self._files:
            self.failure = self.failure or file.failure
            file.close()
        packets = self.packets
        if self.failure is not None:
            packets = _repaired_packets(self._paths, self._spec.packet_samples)
        try:
            return _name(self._paths, packets)
        finally:
            os.close(self._trace)


def unfinished_takes(folder: Path) -> list[str]:
    """Names of the takes in the folder that are being written, or were when something ended that."""
    with contextlib.suppress(OSError):
        left = (_NAME.fullmatch(path.name) for path in take_paths(folder) if path.suffix == _PART)
        return sorted({match[1] for match in left if match})
    return []


def repair_takes(folder: Path, names: list[str]) -> list[Path]:
    """Make whole what killed processes left behind, by `unfinished_takes`; return the files that came of it.

    Takes that somebody is writing are left alone. Raises nothing: what cannot be repaired stays as it is.
    """
    made: list[Path] = []
    for name in names:
        with contextlib.suppress(OSError):
            made += _repair([folder / f"{name}_{part}{_PART}" for part in _PARTS])
    return made


def _repair(paths: list[Path]) -> list[Path]:
    # it may have been interrupted while it gave the files their names
    paths = [path if path.exists() else path.with_suffix("") for path in paths]
    trace = os.open(paths[2], os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(trace, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: it is being written
        packet_samples = 0
        with contextlib.suppress(soundfile.SoundFileError), soundfile.SoundFile(paths[0]) as sound:
            found = _PACKET.search(sound.comment)
            packet_samples = int(found[1]) if found else 0
        return _name(paths, _repaired_packets(paths, packet_samples) if packet_samples else 0)
    finally:
        os.close(trace)


def _repaired_packets(paths: list[Path], packet_samples: int) -> int:
    """Let each file say how much of it can be read; return how many whole packets are in all three."""
    packets = paths[2].stat().st_size
    for path in paths[:2]:
        _tell_samples(path, packets * packet_samples)
        packets = min(packets, _readable_samples(path) // packet_samples)
    for path in paths[:2]:
        _tell_samples(path, packets * packet_samples)
    os.truncate(paths[2], packets)
    return packets


def _readable_samples(path: Path) -> int:
    block = None
    samples = 0
    with contextlib.suppress(soundfile.SoundFileError), soundfile.SoundFile(path) as sound:
        block = np.empty((_BLOCK_SAMPLES, sound.channels), np.int32)
        while read := len(sound.read(out=block)):
            samples += read
    return samples


def _tell_samples(path: Path, samples: int) -> None:
    with path.open("r+b", buffering=0) as file:
        head = file.read(_DIGEST_OFFSET + 16)
        if len(head) < _DIGEST_OFFSET + 16 or not head.startswith(b"fLaC"):
            return
        count = (head[_COUNT_OFFSET] & 0xF0) << 32 | samples
        file.seek(_COUNT_OFFSET)
        file.write(count.to_bytes(5, "big") + bytes(16))


def _name(paths: list[Path], packets: int) -> list[Path]:
    if not packets:
        for path in paths:
            path.unlink(missing_ok=True)
        return []
    named = [path.with_suffix("") if path.suffix == _PART else path for path in paths]
    for path, name in reversed(list(zip(paths, named, strict=True))):  # who sees the sound finds its trace
        path.rename(name)
    return named


def _reserve(folder: Path, started: datetime) -> tuple[list[Path], int]:
    """Names that nobody has, and the trace's file, locked: who repairs sees that it is being written."""
    stem = started.strftime("%Y-%m-%d_%H-%M-%S")
    for number in range(1, 1000):
        paths = [folder / f"{stem}{'' if number == 1 else f'-{number}'}_{part}{_PART}" for part in _PARTS]
        if any(path.with_suffix("").exists() for path in paths):
            continue
        try:
            trace = os.open(paths[2], os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
        fcntl.flock(trace, fcntl.LOCK_EX)
        return paths, trace
    raise FileExistsError(None, f"too many recordings called {stem}")


def _integers(samples: NDArray[np.float32]) -> NDArray[np.int32]:
    """24-bit samples, left-justified; what came as 16 or 24 bits is kept exactly."""
    whole = np.clip(np.rint(samples * np.float32(2**23)), -(2**23), 2**23 - 1)
    integers: NDArray[np.int32] = whole.astype(np.int32) << 8
    return integers


class _File:
    """What libsndfile writes to. Its callbacks may not raise: a full disk is noted, and what follows is not written."""

    def __init__(self, path: Path) -> None:
        self.failure: OSError | None = None
        self.size = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._position = self._end = 0

    def write(self, data: bytes) -> int:
        end = self._position + len(data)
        if self.failure is None or end <= self.size:  # the header is written again at the end
            view = memoryview(data)
            try:
                while view:
                    written = os.pwrite(self._descriptor, view, end - len(view))
                    view = view[written:]
                    self.size = max(self.size, end - len(view))
            except OSError as error:
                self.failure = error
        self._position = end
        self._end = max(self._end, end)
        return len(data)

    def read(self, count: int) -> bytes:
        data = os.pread(self._descriptor, count, self._position)
        self._position += len(data)
        return data

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._position = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        return self._position

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        """Nothing is buffered here."""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.fsync(self._descriptor)
        os.close(self._descriptor)
