"""``python -m continuo.bench``: how fast the predictor and the concealer are, as ratios against peers in the same run.

Prints tables and, with ``--out DIR``, writes the same figures to DIR/bench.json.
"""

import argparse
import json
import platform
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from ..firmware_py.rt.refinement import PREDICT_SAMPLES
from .measure import Times
from .predictors import FITS, fits, levinson, predictions
from .refiners import networks, throughputs
from .stages import Stages, stages

__all__ = ["main"]

EXPERIMENT = "bin2bin-lite"
PAPER_PREDICT_MS = 0.75
"""Paper 000: linear prediction of order 128, 1024 samples (its own machine)."""
PAPER_CROSSFADE_MS = 1.0
"""Paper 000: crossfade (its own machine)."""


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write DIR/bench.json")
    parser.add_argument("--quick", action="store_true", help="a few repetitions: shows that it runs, not how fast")
    parser.add_argument("--repetitions", type=int, default=300, help="rounds of each measurement")
    arguments = parser.parse_args(argv)
    rounds = 3 if arguments.quick else arguments.repetitions
    if rounds < 1:
        parser.error(f"--repetitions {rounds}: give 1 or more")
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
    console = Console()
    if not console.is_terminal:
        console.width = 120
    figures: dict[str, Any] = {"machine": _machine(), "repetitions": rounds}

    figures["fit"] = []
    for order, context_samples in FITS[-1:] if arguments.quick else FITS:
        title = f"Burg fit, order {order}, context {context_samples}"
        times = fits(order, context_samples, rounds)
        figures["fit"].append({"order": order, "context_samples": context_samples} | _report(console, title, times))
    figures["levinson"] = []
    for order in (128, 1024):
        times = levinson(order, rounds)
        title = f"Levinson recursion, order {order}"
        figures["levinson"].append({"order": order} | _report(console, title, times))
    times = predictions(PREDICT_SAMPLES, rounds)
    title = f"Fit + {PREDICT_SAMPLES} samples, packets of 512 at 44.1 kHz"
    figures["prediction"] = _report(console, title, times, ("the paper's stage", PAPER_PREDICT_MS))
    packets, rates_hz = ((64, 512), (44_100,)) if arguments.quick else ((64, 128, 256, 512), (44_100, 48_000))
    rows = stages(packets, rates_hz, rounds)
    console.print(_stage_table(rows))
    figures["stages"] = [asdict(row) for row in rows]
    figures["paper"] = {"predict_ms": PAPER_PREDICT_MS, "crossfade_ms": PAPER_CROSSFADE_MS}
    times = networks(EXPERIMENT, rounds)
    figures["network"] = _report(console, f"Network of {EXPERIMENT}, one run, one thread", times)
    figures["gmacs_per_second"] = throughputs(EXPERIMENT, rounds)
    console.print(_throughput_table(figures["gmacs_per_second"]))
    if arguments.out:
        path = arguments.out / "bench.json"
        path.write_text(json.dumps(figures, indent=1) + "\n")
        console.print(f"written: {path}")


def _report(
    console: Console, title: str, times: dict[str, Times], constant: tuple[str, float] | None = None
) -> dict[str, Any]:
    """Print ``times`` with the ratio to the first row, or to a published ``constant``; return them for JSON."""
    name, reference_ms = constant or next((name, time.p50_ms) for name, time in times.items())
    table = Table(title=title)
    for column in ("", "p50 ms", "p99 ms", f"times faster than {name}"):
        table.add_column(column, justify="right" if column else "left")
    if constant:
        table.add_row(name, f"{reference_ms:.3f}", "", "1.00")
    rows = {}
    for row, time in times.items():
        ratio = reference_ms / time.p50_ms
        table.add_row(row, f"{time.p50_ms:.3f}", f"{time.p99_ms:.3f}", f"{ratio:.2f}")
        rows[row] = asdict(time) | {"times_faster": ratio}
    console.print(table)
    return {"reference": name, "rows": rows}


def _stage_table(rows: list[Stages]) -> Table:
    table = Table(
        title="Stages of the concealer, one channel; p50 / p99 ms, and how many times faster than the paper's "
        f"{PAPER_PREDICT_MS} ms (LPC) and {PAPER_CROSSFADE_MS} ms (crossfade) at p50; "
        "replaced, received: all of such a packet"
    )
    for column in (
        "method",
        "packet",
        "Hz",
        "predict",
        "faster",
        "refine",
        "replaced",
        "crossfade",
        "faster",
        "received",
    ):
        table.add_column(column, justify="left" if column == "method" else "right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.method,
            str(row.packet_samples),
            str(row.sample_rate_hz),
            f"{row.predict.p50_ms:.3f} / {row.predict.p99_ms:.3f}",
            f"{PAPER_PREDICT_MS / row.predict.p50_ms:.2f}",
            f"{row.refine.p50_ms:.2f} / {row.refine.p99_ms:.2f}",
            f"{row.replaced.p50_ms:.2f} / {row.replaced.p99_ms:.2f}",
            f"{row.crossfade.p50_ms:.4f} / {row.crossfade.p99_ms:.4f}",
            f"{PAPER_CROSSFADE_MS / row.crossfade.p50_ms:.0f}",
            f"{row.received.p50_ms:.4f} / {row.received.p99_ms:.4f}",
        )
    return table


def _throughput_table(rates: dict[str, float]) -> Table:
    table = Table(title="int8 on one thread: 10^9 multiply-accumulates per second")
    for column in ("network", "rate", "ours, of it"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for name, rate in rates.items():
        table.add_row(name, f"{rate:.0f}", f"{rates[EXPERIMENT] / rate:.2f}")
    return table


def _machine() -> dict[str, str]:
    cpu = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.exists():
        named = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = named[0] if named else cpu
    packages = {name: version(name) for name in ("ai-edge-litert", "numba", "numpy", "scipy", "torch")}
    return {"cpu": cpu, "system": platform.platform(), "python": platform.python_version()} | packages


if __name__ == "__main__":
    main()
