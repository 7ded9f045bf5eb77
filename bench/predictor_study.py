"""Re-measures the choices that docs/prediction.md reports, through the classes that play.

``python -m continuo.bench.predictor_study --data DIR`` reads every audio file of DIR (use clips that no result is
reported on), cuts ``--seconds`` out of the middle of each, loses packets, conceals, and prints one table per choice:
means over clips, with the standard error of the difference to the choice that is made. Clips too short are left out.
"""

import argparse
import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from ..firmware_py.audio_file import read_audio
from ..firmware_py.loss import GilbertElliott
from ..firmware_py.methods import METHODS
from ..firmware_py.metrics import mel_sc, nmse_gap_db, visqol
from ..firmware_py.rt.concealer import Concealer, Method
from ..firmware_py.rt.predictor import BurgPredictor
from ..firmware_py.rt.spec import StreamSpec

__all__ = ["STUDIES", "Study", "main"]

SHORT = GilbertElliott(p=0.05, r=0.5)
"""Mean burst two packets, as the evaluation's traces of short losses."""
CHOSEN = METHODS["lpc"]
NOISES = (1e-5, 0, 1e-6, 1e-4)


@dataclass(frozen=True)
class Study:
    """One choice: variants by name, the first of them the one that was made, and the losses it is judged by."""

    title: str
    variants: dict[str, Method]
    packet_samples: int = 512
    burst_packets: tuple[int, int] = (0, 0)
    """Every burst has this many packets, least and most; (0, 0): `SHORT`."""
    visqol: bool = False


def _burg(order: int, context_samples: int, decay: float = 2.0) -> Method:
    return replace(CHOSEN, predictor=partial(BurgPredictor, order, context_samples, decay))


def _named(rows: list[tuple[int, int, float]]) -> dict[str, Method]:
    return {f"{order} / {context} / e^-{decay:g}": _burg(order, context, decay) for order, context, decay in rows}


STUDIES = {
    "order": Study(
        "order / context in samples / weight of the oldest sample",
        _named(
            [
                (1280, 6144, 2),
                (128, 3584, 2),
                (512, 4096, 2),
                (1024, 4096, 0),
                (1024, 4096, 2),
                (1024, 6144, 2),
                (1280, 4096, 2),
                (1280, 8192, 2),
                (1536, 8192, 2),
                (2048, 8192, 2),
            ]
        ),
    ),
    "window": Study("window", _named([(1280, 6144, d) for d in (2, 0, 0.5, 1, 1.5, 4)])),
    "noise": Study(
        "peak of the noise in the fit, relative to the context's",
        {
            f"{noise:g}": replace(CHOSEN, predictor=partial(BurgPredictor, noise=noise))
            for noise in (1e-5, 0, 1e-6, 1e-4)
        },
    ),
    "crossfade": Study(
        "crossfade out of the gap, ms",
        {f"{ms:g}": replace(CHOSEN, crossfade_ms=ms) for ms in (1.45, 0.36, 0.73, 2.9, 5.8, 11.6)},
        visqol=True,
    ),
    "refit": Study(
        "samples of a burst between fits",
        {str(samples): replace(CHOSEN, refit_samples=samples) for samples in (256, 1024, 2048, 8192)},
    ),
    "refit128": Study(
        "samples of a burst between fits",
        {str(samples): replace(CHOSEN, refit_samples=samples) for samples in (256, 128, 512, 1024, 2048)},
        packet_samples=128,
        burst_packets=(1, 12),
    ),
    "fade": Study(
        "full level, then fade, ms; bursts of 6 to 16 packets",
        {
            "60, 240": CHOSEN,
            "none": replace(CHOSEN, fades=False),
            **{
                f"{hold:g}, {fade:g}": replace(CHOSEN, hold_ms=hold, fade_ms=fade)
                for hold, fade in ((20, 100), (40, 160), (40, 200), (40, 240), (60, 120), (60, 480), (100, 200))
            },
        },
        burst_packets=(6, 16),
    ),
    "fade-lite": Study(
        "`lite`: full level, then fade, ms; bursts of 6 to 16 packets",
        {
            f"{hold:g}, {fade:g}": replace(METHODS["lite"], hold_ms=hold, fade_ms=fade)
            for hold, fade in ((60, 240), (80, 240), (100, 120), (100, 240), (100, 400), (120, 240), (150, 300))
        },
        burst_packets=(6, 16),
    ),
    "packet64": Study(
        "order / context / weight of the oldest sample; bursts of 1 to 8 packets",
        _named([(1024, 4096, 2), (256, 1024, 2), (512, 2048, 2), (1280, 6144, 2)]),
        packet_samples=64,
        burst_packets=(1, 8),
    ),
    "packet32": Study(
        "order / context / weight of the oldest sample; bursts of 1 to 16 packets",
        _named([(512, 2048, 2), (256, 1024, 2), (1024, 4096, 2)]),
        packet_samples=32,
        burst_packets=(1, 16),
    ),
}
"""By the name that ``--studies`` takes."""


@dataclass(frozen=True)
class Clip:
    """One channel of music and where it came from."""

    name: str
    samples: NDArray[np.float32] = field(repr=False)
    sample_rate_hz: int = 44_100


def main() -> None:
    """Run the studies and print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of audio files to tune on")
    parser.add_argument("--studies", default=",".join(STUDIES), help=", ".join(STUDIES))
    parser.add_argument("--clips", type=int, default=1000, help="at most so many files, spread evenly over the folder")
    parser.add_argument("--seconds", type=float, default=8.0, help="length of each segment")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--visqol-clips", type=int, default=12, help="how many of the clips ViSQOL judges; it is slow")
    parser.add_argument("--out", type=Path, help="write every clip's figures to this JSON file")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.studies.split(",") if name not in STUDIES]
    if unknown:
        parser.error(f"no study is called {unknown[0]!r}: choose from {', '.join(STUDIES)}")
    clips = list(_clips(arguments.data, arguments.clips, arguments.seconds))
    if not clips:
        parser.error(f"{arguments.data} holds no audio file of {arguments.seconds:g} seconds or more")
    console = Console()
    figures = {}
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for name in arguments.studies.split(","):
            study = STUDIES[name]
            judged = [study.visqol and index < arguments.visqol_clips for index in range(len(clips))]
            rows = list(pool.map(partial(_measure, name), range(len(clips)), clips, judged))
            figures[name] = {clip.name: row for clip, row in zip(clips, rows, strict=True)}
            console.print(_table(study, rows))
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=1))


def _clips(folder: Path, count: int, seconds: float) -> Iterator[Clip]:
    """Segments from the middle of files spread evenly over the folder, first channel."""
    audios = []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in {".wav", ".flac"}:
            audio = read_audio(path)
            frames = round(seconds * audio.sample_rate_hz)
            start = (audio.frames - frames) // 2
            if start >= 0 and np.ptp(audio.samples[start : start + frames, 0]) > 0.01:
                segment = audio.samples[start : start + frames, 0].copy()
                audios.append(Clip(path.name, segment, audio.sample_rate_hz))
    step = max(1.0, len(audios) / count)
    yield from (audios[int(index * step)] for index in range(min(count, len(audios))))


def _losses(study: Study, packets: int, seed: int) -> NDArray[np.bool_]:
    least, most = study.burst_packets
    if most == 0:
        return SHORT.generate(packets, seed)
    rng = np.random.default_rng(seed)
    lost = np.zeros(packets, np.bool_)
    position = int(rng.integers(20, 40))
    while position < packets:
        burst = int(rng.integers(least, most + 1))
        lost[position : position + burst] = True
        position += burst + int(rng.integers(10 * least, 20 * least + 20))
    return lost


def _conceal(method: Method, clip: Clip, lost: NDArray[np.bool_], packet_samples: int) -> NDArray[np.float32]:
    concealer = Concealer(method)
    concealer.prepare(StreamSpec(clip.sample_rate_hz, packet_samples))
    out = np.empty(len(lost) * packet_samples, np.float32)
    for index, packet in enumerate(clip.samples[: len(out)].reshape(-1, packet_samples, 1)):
        out[index * packet_samples :][:packet_samples] = concealer.process(None if lost[index] else packet)[:, 0]
    return out


def _measure(name: str, seed: int, clip: Clip, with_visqol: bool) -> dict[str, dict[str, float]]:
    """Metrics of every variant of a study on one clip; all variants lose the same packets."""
    study = STUDIES[name]
    packet = study.packet_samples
    lost = _losses(study, len(clip.samples) // packet, seed)
    reference = clip.samples[: len(lost) * packet]
    results = {}
    for variant, method in study.variants.items():
        out = _conceal(method, clip, lost, packet)
        results[variant] = {
            "nmse_gap_db": nmse_gap_db(reference, out, lost, packet),
            "mel_sc": mel_sc(reference, out, clip.sample_rate_hz),
        }
        if with_visqol:
            results[variant]["visqol"] = visqol(reference, out, clip.sample_rate_hz)
    return results


def _table(study: Study, rows: list[dict[str, dict[str, float]]]) -> Table:
    """Mean over clips of each metric, and in brackets the standard error of its difference to the first variant."""
    chosen = next(iter(study.variants))
    metrics = list(rows[0][chosen])
    table = Table(title=f"{study.title}\n{len(rows)} clips, packets of {study.packet_samples} samples")
    table.add_column("variant")
    for metric in metrics:
        table.add_column(metric, justify="right")
    for variant in study.variants:
        cells = []
        for metric in metrics:
            pairs = np.array([(row[variant][metric], row[chosen][metric]) for row in rows if metric in row[chosen]])
            pairs = pairs[np.isfinite(pairs).all(axis=1)]
            error = np.std(pairs[:, 0] - pairs[:, 1]) / np.sqrt(max(1, len(pairs) - 1))
            digits = 2 if metric == "nmse_gap_db" else 4
            spread = "" if variant == chosen else f" ({error:.{digits}f})"
            cells.append(f"{np.mean(pairs[:, 0]):.{digits}f}{spread}")
        table.add_row(variant, *cells)
    return table


if __name__ == "__main__":
    main()
