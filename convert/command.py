"""What ``continuo convert`` does once torch and the converter are there."""

import logging
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from ..firmware_py.cli.progress import progress_bar
from ..firmware_py.errors import InputError, RunError
from ..firmware_py.evaluate import find_clips
from ..firmware_py.methods import METHODS
from ..models.bin2bin.runtime import WEIGHTS, load_card, load_weights
from .accuracy import compare_clips, compare_signals, layers, missed_bars
from .budget import EFFICIENCY, Budget, budget, parse_target
from .conversion import Converted, convert, fold, gap_columns, ratio_db
from .examples import Examples
from .flatbuffer import FORMATS, Scale, read_operators
from .folded import Folded
from .package import write_package
from .quantise import FakeQuantised, prepare, tune
from .report import write_report
from .run import run_tflite

__all__ = ["main"]

CALIBRATION_EXAMPLES = 192
MEASURED_EXAMPLES = 64
CHECKED_EXAMPLES = 8
BUNDLED = Path(__file__).parent.parent / "firmware_py" / "assets"
TUNE_BATCH = 8
SMOKE_DIVISOR = 8


def main(
    model: str,
    *,
    data: Path | None,
    out: Path | None,
    tune_steps: int,
    report: bool,
    clips: Path | None,
    traces: Path | None,
    target: str | None,
    smoke: bool,
) -> None:
    """Convert ``model``: a name among the bundled weights, or the path of an .npz file.

    Raises
    ------
    InputError
        Without such weights, or without data.
    RunError
        When a step of the conversion, or the accuracy of int8, falls short.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    console = Console(highlight=False)
    boards, spec = parse_target(target) if target else ([], None)
    path = Path(model) if model.endswith(".npz") else WEIGHTS / f"{model}.npz"
    refiner = load_weights(path)
    name = path.stem
    pairs = find_clips(clips, traces) if clips and traces else []
    folder = out or Path("converted") / name
    folder.mkdir(parents=True, exist_ok=True)
    few = SMOKE_DIVISOR if smoke else 1
    method = _trained_behind(path)
    examples = Examples(refiner, BUNDLED if smoke else _data(data), method)
    calibration = examples.calibration(CALIBRATION_EXAMPLES // few)
    held_out = examples.held_out(MEASURED_EXAMPLES // few)
    network = fold(refiner)
    expected = gap_columns(refiner, held_out)
    if not expected.any():
        raise InputError(f"the network of {path} gives nothing but zeros: train it first")
    done: dict[str, Converted] = {}
    output_db: dict[str, float] = {}
    rounded = fold(refiner)
    scales = prepare(rounded, calibration)
    if tune_steps:
        before_db = _rounded_db(rounded, scales, held_out, expected)
        with progress_bar(quiet=False) as progress:
            batches = progress.track(examples.batches(tune_steps, TUNE_BATCH), tune_steps, description="tuning")
            tune(rounded, partial(gap_columns, refiner), scales, batches, tune_steps)
        after_db = _rounded_db(rounded, scales, held_out, expected)
        console.print(f"tuned: {before_db:.1f} dB before, {after_db:.1f} dB after {tune_steps} steps")
    for kind in FORMATS:
        own, its_scales = (rounded, scales) if kind == "int8" else (network, None)
        onnx = folder / (f"{name}-int8.onnx" if kind == "int8" else f"{name}.onnx")
        done[kind] = convert(refiner, own, kind, its_scales, held_out[:CHECKED_EXAMPLES], onnx)
        write_package(folder / f"{name}-{kind}.tflite", done[kind].contents, refiner.config, own)
        with torch.no_grad():
            output_db[kind] = ratio_db(expected, own.decode(run_tflite(done[kind].contents, own.encode(held_out))))
    sizes = {kind: (folder / f"{name}-{kind}.tflite").stat().st_size for kind in FORMATS}
    console.print(_table(name, done, sizes, output_db), f"files: {folder}", sep="\n")
    console.print("operators: " + ", ".join(sorted(set(read_operators(done["int8"].contents)))))
    budgets = [budget(done["int8"].graph, board, spec) for board in boards if spec]
    for b in budgets:
        _print_budget(console, b)
    if report:
        int8 = folder / f"{name}-int8.tflite"
        with progress_bar(quiet=False) as progress:
            compared = compare_clips(refiner, int8, method, progress.track(pairs, description="comparing"))
        missed = missed_bars(output_db["int8"], compared)
        page = write_report(
            folder, name, steps={k: c.checks for k, c in done.items()}, sizes=sizes, output_db=output_db,
            tensors=layers(rounded, scales, held_out), clips=compared,
            signals=compare_signals(refiner, int8, method), budgets=budgets, missed=missed,
        )  # fmt: skip
        console.print(f"report: {page}", soft_wrap=True)
        if missed:
            raise RunError(f"int8 falls short: {'; '.join(missed)}; {page} names the worst layers, --tune may help")


@torch.no_grad()
def _rounded_db(rounded: Folded, scales: Mapping[str, Scale], held_out: Tensor, expected: Tensor) -> float:
    """Output SQNR of the network as it is now, rounded in torch."""
    return ratio_db(expected, rounded.decode(rounded(rounded.encode(held_out), FakeQuantised(scales))))


def _trained_behind(path: Path) -> str:
    """Method whose predictor stood before the refiner in training."""
    method = load_card(path).get("experiment", {}).get("method")
    if method not in METHODS:
        raise InputError(f"{path}: its card names no method that it was trained behind; write it with `continuo train`")
    return str(method)


def _data(data: Path | None) -> Path:
    if data is None:
        if "CONTINUO_DATA" not in os.environ:
            raise InputError("give a folder of audio to calibrate on: --data DIR, or set CONTINUO_DATA")
        return Path(os.environ["CONTINUO_DATA"]) / "train"
    return data


def _table(name: str, done: Mapping[str, Converted], sizes: Mapping[str, int], output_db: Mapping[str, float]) -> Table:
    table = Table(title=name, title_justify="left", box=None, pad_edge=False)
    for heading in ("format", "MB", "output SQNR, dB", "each step against the one before, dB"):
        table.add_column(heading, justify="left" if heading == "format" else "right")
    for kind, converted in done.items():
        steps = ", ".join(f"{step} {ratio:.0f}" for step, ratio in converted.checks.items())
        table.add_row(kind, f"{sizes[kind] / 1e6:.2f}", f"{output_db[kind]:.1f}", steps)
    return table


def _print_budget(console: Console, b: Budget) -> None:
    table = Table(title=b.board.name, title_justify="left", box=None, pad_edge=False)
    for heading in ("layer", "kind", "million MAC", "kB read", "ms, one thread"):
        table.add_column(heading, justify="left" if heading in {"layer", "kind"} else "right")
    for row in b.rows:
        table.add_row(
            row.name, row.kind, f"{row.macs / 1e6:.2f}", f"{row.bytes_read / 1e3:.0f}", f"{row.predicted_ms:.2f}"
        )
    console.print(table)
    console.print(
        f"predicted {b.one_thread_ms:.1f} ms with one thread, {b.four_threads_ms:.1f} ms with four, of "
        f"{b.available_ms:.1f} ms; from {b.board.source}; {EFFICIENCY:.0%} of that throughput assumed"
    )
    for warning in b.warnings:
        console.print(f"warning: {warning}", style="yellow")
