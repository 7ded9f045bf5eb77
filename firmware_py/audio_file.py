"""Audio files, in and out, through libsndfile."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from .atomic import atomic_path
from .errors import InputError, RunError

__all__ = ["Audio", "read_audio", "write_audio"]

_CHANNELS_MAX = 8
_RATES_HZ = (22_050, 96_000)
_FORMATS = {"AIF": "AIFF", "OGA": "OGG", "OPUS": "OGG", "WAVE": "WAV"}


@dataclass(frozen=True, eq=False)
class Audio:
    """A recording as it was read."""

    samples: NDArray[np.float32]
    """[shape=(frames, channels)], full scale is 1.0. Holds 24-bit samples exactly, 32-bit ones rounded."""
    sample_rate_hz: int
    subtype: str
    """Sample format as soundfile names it, such as ``PCM_24``."""
    format: str
    """Container as soundfile names it, such as ``WAV``."""

    @property
    def frames(self) -> int:
        """Samples per channel."""
        return len(self.samples)

    @property
    def channels(self) -> int:
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate_hz


def read_audio(path: str | os.PathLike[str]) -> Audio:
    """Read a whole audio file: WAV, FLAC and whatever else libsndfile knows.

    Parameters
    ----------
    path
        A file with 1 to 8 channels at 22,050 to 96,000 Hz.

    Returns
    -------
    audio : Audio
        float32 samples [shape=(frames, channels)], full scale 1.0, at least one frame, all finite.

    Raises
    ------
    InputError
        When the file is missing, unreadable, empty or not audio, when it holds no samples, or NaN or infinite ones,
        or when its channels or its rate lie outside what Continuo handles.
    """
    _check_readable(path)
    try:
        with soundfile.SoundFile(path) as file:
            sample_rate_hz, channels = int(file.samplerate), int(file.channels)
            if not 1 <= channels <= _CHANNELS_MAX:
                raise InputError(f"{path}: {channels} channels: give a file with 1 to {_CHANNELS_MAX}")
            if not _RATES_HZ[0] <= sample_rate_hz <= _RATES_HZ[1]:
                raise InputError(
                    f"{path}: sample rate {sample_rate_hz} Hz: give a file of {_RATES_HZ[0]} to {_RATES_HZ[1]} Hz"
                )
            samples: NDArray[np.float32] = file.read(dtype="float32", always_2d=True)
            audio = Audio(samples, sample_rate_hz, file.subtype, file.format)
    except (soundfile.SoundFileError, OSError, TypeError, ValueError, MemoryError) as error:
        # TypeError: soundfile takes a name that ends in .raw for headerless samples and wants their format
        reason = getattr(error, "error_string", "") or str(error) or "out of memory"
        raise InputError(f"{path}: cannot be read as audio: {_one_line(reason)} Give a WAV or FLAC file") from error
    if not audio.frames:
        raise InputError(f"{path}: the recording has no samples: give a longer one")
    if problem := _not_finite(audio.samples, sample_rate_hz):
        raise InputError(f"{path}: {problem}: export the file again")
    return audio


def write_audio(
    path: str | os.PathLike[str], samples: NDArray[np.floating], sample_rate_hz: int, subtype: str = "PCM_24"
) -> None:
    """Write an audio file, whole or not at all. The suffix of its name chooses the container.

    16-bit and 24-bit files read by `read_audio` are written back without a change in any sample.

    Parameters
    ----------
    path
        The file to make or replace, such as ``out.wav`` or ``out.flac``.
    samples : NDArray[float] [shape=(frames,) or (frames, channels)]
        Full scale is 1.0. Integer subtypes clip at full scale; float ones keep what lies beyond.
    sample_rate_hz
        Samples per second and channel.
    subtype
        Sample format as soundfile names it.

    Raises
    ------
    InputError
        When the suffix is no audio format or the format cannot hold the subtype.
    RunError
        When the file cannot be written, or a sample is NaN or infinite.
    """
    container = _container(Path(path))
    if not soundfile.check_format(container, subtype):
        choices = ", ".join(soundfile.available_subtypes(container))
        raise InputError(f"{path}: {container} cannot hold {subtype} samples: choose from {choices}")
    if problem := _not_finite(samples, sample_rate_hz):
        raise RunError(f"{path}: not written: {problem}")
    if subtype.startswith("PCM"):
        samples = np.clip(samples, -1.0, 1.0)
    with atomic_path(path) as temporary:
        try:
            soundfile.write(temporary, samples, sample_rate_hz, subtype, format=container)
        except (soundfile.SoundFileError, TypeError, ValueError) as error:
            reason = getattr(error, "error_string", "") or str(error)
            raise RunError(f"{path}: cannot write: {_one_line(reason)} Choose another place or format") from error


def _check_readable(path: str | os.PathLike[str]) -> None:
    """Raise for what libsndfile would report as just "System error" or "Format not recognised"."""
    file = Path(path)
    try:
        if file.is_dir():
            raise InputError(f"{path}: is a folder: give an audio file")
        if file.exists() and not file.is_file():
            raise InputError(f"{path}: is not a regular file: give an audio file")
        with file.open("rb") as stream:
            if not stream.read(1):
                raise InputError(f"{path}: the file is empty (0 bytes): give an audio file")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file: check the name") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{path}: cannot be read: {reason}") from error


def _container(path: Path) -> str:
    suffix = path.suffix[1:].upper()
    container = _FORMATS.get(suffix, suffix)
    if container not in soundfile.available_formats():
        raise InputError(f"{path}: cannot tell the audio format from {path.suffix!r}: end the name in .wav or .flac")
    return container


def _not_finite(samples: NDArray[np.floating], sample_rate_hz: int) -> str:
    """Say how many samples are NaN or infinite and where the first is; empty when none is."""
    finite = np.isfinite(samples)
    if finite.all():
        return ""
    first = int(np.argmin(finite.reshape(len(samples), -1).all(axis=1)))
    count = int(finite.size - np.count_nonzero(finite))
    noun = "sample is" if count == 1 else "samples are"
    return f"{count} {noun} NaN or infinite, the first at {first / sample_rate_hz:.3f} s"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if line.endswith(".") else f"{line}."
