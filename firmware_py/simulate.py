"""The simulator: a recording and a loss trace through the concealer, packet by packet, in virtual time."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from .atomic import atomic_path
from .audio_file import Audio, write_audio
from .control.timing_log import TimingLogWriter, write_timing_csv
from .errors import InputError
from .loss import fit_trace, write_trace
from .methods import build_concealer
from .rt.concealer import Method
from .rt.spec import StreamSpec
from .rt.timing import TimingRing

__all__ = ["SimulationResult", "count_packets", "simulate", "write_simulation"]


@dataclass(frozen=True, eq=False)
class SimulationResult:
    """What went in, what came out, and how long it took."""

    audio: Audio
    """The recording: what the metrics take as reference."""
    spec: StreamSpec
    method: str
    lost: NDArray[np.bool_]
    """[shape=(packets,)], True = lost."""
    lossy: NDArray[np.float32]
    """[shape=(frames, channels)], the recording with zeros for the lost packets."""
    concealed: NDArray[np.float32]
    """[shape=(frames, channels)], what the concealer played."""
    rows: NDArray[np.void]
    """[shape=(packets,)], `TIMING_DTYPE`: one row per packet."""
    damaged_samples: int
    """Received samples that were no audio (absurdly loud) and were played as zeros."""


def count_packets(audio: Audio, packet_samples: int) -> int:
    """Return how many whole packets the recording fills, at least 1.

    Raises
    ------
    InputError
        When the packet size is not one that Continuo handles, or the recording is shorter than one packet.
    """
    spec = StreamSpec(audio.sample_rate_hz, packet_samples, audio.channels)
    packets = audio.frames // spec.packet_samples
    if not packets:
        raise InputError(
            f"the recording has {audio.frames} samples, less than one packet of {packet_samples}: "
            "give a longer one or a smaller --packet"
        )
    return packets


def simulate(
    audio: Audio,
    lost: NDArray[np.bool_],
    method: str | Method = "lpc",
    packet_samples: int = 512,
    *,
    progress: Callable[[int], None] | None = None,
) -> SimulationResult:
    """Send a recording through the concealer that also serves the box, the evaluation and the bench.

    Time is virtual: a packet's deadline is its own duration, whatever the machine is busy with, and a missed one is
    counted in the rows and changes nothing in the audio. The same input gives the same samples, bit for bit.

    Parameters
    ----------
    audio
        The recording. Samples after its last whole packet are received: they only end a burst's crossfade.
    lost : NDArray[bool] [shape=(n,)]
        True = lost; at least `count_packets` of them, what is beyond is ignored.
    method
        One of `methods.METHODS`, or its name.
    packet_samples
        Samples per channel in one packet, 32 to 1024.
    progress
        Called with the number of packets done, after each.

    Raises
    ------
    InputError
        When the format, the method or the trace's length is not one that can be simulated.
    """
    packets = count_packets(audio, packet_samples)
    spec = StreamSpec(audio.sample_rate_hz, packet_samples, audio.channels)
    lost = fit_trace(lost, packets)
    concealer = build_concealer(method)
    concealer.prepare(spec)
    samples = np.ascontiguousarray(audio.samples, np.float32)
    lossy, concealed = samples.copy(), np.empty_like(samples)
    rows: NDArray[np.void] = np.zeros(packets, concealer.row.dtype)
    for index, is_lost in enumerate(lost.tolist()):
        span = slice(index * packet_samples, (index + 1) * packet_samples)
        concealed[span] = concealer.process(None if is_lost else samples[span])
        rows[index] = concealer.row
        if is_lost:
            lossy[span] = 0
        if progress is not None:
            progress(index + 1)
    if rest := len(samples) - packets * packet_samples:
        last = np.zeros((packet_samples, spec.channels), np.float32)
        last[:rest] = samples[-rest:]
        concealed[-rest:] = concealer.process(last)[:rest]
    return SimulationResult(audio, spec, concealer.method.name, lost, lossy, concealed, rows, concealer.damaged_samples)


def write_simulation(folder: str | os.PathLike[str], result: SimulationResult, report: dict[str, Any]) -> None:
    """Write the audio, the timing and the report: each file whole or not at all.

    Makes ``lossy.wav`` and ``concealed.wav`` (sample format of the recording, or 24 bit where that is not plain PCM or
    float: a lossy codec would be heard with the concealment), ``timing.csv``, ``timing.log``, ``trace.txt`` (what was
    lost, for ``--trace``) and ``report.json``.

    Parameters
    ----------
    folder
        Where to; it must exist. `atomic.atomic_folder` makes the set of files appear together.
    result
        What to write.
    report
        `report.build_report` of the result.

    Raises
    ------
    RunError
        When a file cannot be written.
    """
    folder = Path(folder)
    subtype = result.audio.subtype
    if not (subtype.startswith(("PCM", "FLOAT", "DOUBLE")) and soundfile.check_format("WAV", subtype)):
        subtype = "PCM_24"
    for name, samples in (("lossy.wav", result.lossy), ("concealed.wav", result.concealed)):
        write_audio(folder / name, samples, result.spec.sample_rate_hz, subtype)
    write_timing_csv(folder / "timing.csv", result.rows)
    _write_timing_log(folder / "timing.log", result)
    write_trace(folder / "trace.txt", result.lost)
    with atomic_path(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _write_timing_log(path: Path, result: SimulationResult) -> None:
    """Write the same binary log as the box, in one go: the ring has room for every row."""
    ring = TimingRing(1 << len(result.rows).bit_length(), result.rows.dtype)
    with TimingLogWriter(path, ring, result.spec, result.method):
        for row in result.rows:
            ring.push(row)
