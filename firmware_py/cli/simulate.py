"""``continuo simulate``: a recording in, its losses concealed out, with the figures and the times."""

import contextlib
import json
import shlex
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from numpy.typing import NDArray
from rich.console import Console, Group, RenderableType
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from ..atomic import atomic_folder
from ..audio_file import Audio, read_audio
from ..control.timing_log import read_timing_log
from ..control.timing_plot import save_timing_picture
from ..control.timing_report import stage_table
from ..errors import InputError, MissingError
from ..loss import fit_trace, parse_loss, read_trace
from ..methods import METHODS
from ..metrics import METRICS, installed_metrics
from ..pictures import METRIC_LABELS, save_spectrogram_picture, save_waveform_picture
from ..report import build_report
from ..simulate import SimulationResult, count_packets, simulate, write_simulation
from .progress import progress_bar

__all__ = ["simulate_command"]

_DEFAULT_LOSS = "gilbert:p=0.06,r=0.5"
_SOUNDS = ("concealed.wav", "lossy.wav")
_PICTURES = ("spectrograms.png", "waveform.png", "timing.png")
_REDRAW_S = 0.1


def simulate_command(
    recording: Annotated[Path, typer.Argument(metavar="IN.wav", help="A recording: WAV, FLAC and the like.")],
    *,
    trace: Annotated[
        Path | None, typer.Option(metavar="T.txt", help="Which packets are lost: one digit per packet, 1 = lost.")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help=f"Or a loss model: a rate, bernoulli:p=... or (default) {_DEFAULT_LOSS}."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the loss model.")] = 0,
    packet: Annotated[int, typer.Option(metavar="SAMPLES", help="Packet size, 32 to 1024.")] = 512,
    method: Annotated[str, typer.Option(help=f"One of {', '.join(METHODS)}.")] = "lpc",
    repeat_trace: Annotated[bool, typer.Option("--repeat-trace", help="Start a short trace over.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write audio, report, timing and pictures there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON instead of tables.")] = False,
) -> None:
    """Lose packets of a recording, conceal them, and say how well that went and how long it took."""
    if trace is not None and loss is not None:
        raise InputError("say what is lost by one of --trace and --loss, not both")
    audio = read_audio(recording)
    lost, loss_name = _losses(audio, packet, trace=trace, loss=loss, seed=seed, repeat=repeat_trace)
    _refuse_to_overwrite(recording, out)
    with contextlib.ExitStack() as stack:
        owned = (*_SOUNDS, *_PICTURES)
        folder = None if out is None else stack.enter_context(atomic_folder(out, owned))
        with progress_bar(quiet=as_json, auto_refresh=False) as progress:
            result = simulate(
                audio, lost, method, packet, progress=_packet_counter(progress, count_packets(audio, packet))
            )
            _announce(progress, "measuring")
            report = build_report(result, input_name=recording.name, loss=loss_name, metrics=installed_metrics())
            if folder is not None:
                _announce(progress, "writing")
                write_simulation(folder, result, report)
                _draw(folder, result)
        drawn = [] if folder is None else [name for name in _PICTURES if (folder / name).exists()]
    if set(installed_metrics()) != set(METRICS):
        typer.echo("continuo: no visqol: it is not installed; pip install 'continuo-nmp[eval]'", err=True)
    if as_json:
        typer.echo(json.dumps(report, indent=2, allow_nan=False))
    else:
        Console(highlight=False).print(_render(report, out, drawn))


def _losses(
    audio: Audio, packet: int, *, trace: Path | None, loss: str | None, seed: int, repeat: bool
) -> tuple[NDArray[Any], str]:
    """The trace [shape=(packets,), bool], and what the report calls it."""
    packets = count_packets(audio, packet)
    if trace is not None:
        return fit_trace(read_trace(trace), packets, repeat), trace.name
    model = parse_loss(loss or _DEFAULT_LOSS)
    return model.generate(packets, seed), f"{model}, seed {seed}"


def _refuse_to_overwrite(recording: Path, out: Path | None) -> None:
    if out is not None and recording.name in _SOUNDS and recording.resolve().parent == out.resolve():
        raise InputError(f"{recording} would be overwritten: choose another --out than its own folder")


def _packet_counter(progress: Progress, packets: int) -> Callable[[int], None]:
    """Move the bar now and then, between two packets: never while one of them is timed."""
    task = progress.add_task("concealing", total=packets)
    progress.refresh()
    drawn_at = time.monotonic()

    def count(done: int) -> None:
        nonlocal drawn_at
        if done < packets and time.monotonic() - drawn_at < _REDRAW_S:
            return
        progress.update(task, completed=done, refresh=True)
        drawn_at = time.monotonic()

    return count


def _announce(progress: Progress, what: str) -> None:
    progress.update(progress.task_ids[0], description=what, refresh=True)


def _draw(folder: Path, result: SimulationResult) -> None:
    """Draw what can be drawn; without matplotlib, say so and go on."""
    try:
        save_timing_picture(read_timing_log(folder / "timing.log"), folder / "timing.png")
        if result.lost.any():
            save_spectrogram_picture(result, folder / "spectrograms.png")
            save_waveform_picture(result, folder / "waveform.png")
    except MissingError as error:
        typer.echo(f"continuo: {error}", err=True)


def _render(report: dict[str, Any], out: Path | None, drawn: Sequence[str]) -> RenderableType:
    misses = report["deadline_misses"]
    rungs = ", ".join(f"{name} {count:,}" for name, count in report["rungs"].items() if count)
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_column()
    facts.add_row(
        "recording",
        f"{report['input']}, {report['duration_s']:.1f} s, {report['sample_rate_hz']} Hz, "
        f"{report['channels']} channel{'s' if report['channels'] > 1 else ''}",
    )
    facts.add_row("packets", f"{report['packets']:,} of {report['packet_samples']} samples")
    facts.add_row(
        "lost",
        f"{report['lost']:,} ({report['loss_rate']:.1%}), longest burst {report['longest_burst']}: {report['loss']}",
    )
    facts.add_row("deadline", f"{report['packet_us'] / 1000:.3f} ms per packet")
    facts.add_row("deadline misses", Text(f"{misses:,}", style="bold red" if misses else "green"))
    facts.add_row("rungs", rungs)
    if report["damaged_samples"]:
        facts.add_row("damaged samples", Text(f"{report['damaged_samples']:,}, played as zeros", style="bold red"))
    places = Table.grid(padding=(0, 2))
    places.add_column(style="dim")
    places.add_column(overflow="fold")
    if out is None:
        places.add_row("listen", "add --out DIR to hear and see it")
    else:
        places.add_row("listen", "\n".join(str(out / name) for name in _SOUNDS))
        if drawn:
            places.add_row("look", "\n".join(str(out / name) for name in drawn))
        places.add_row("timing", f"continuo timing report {shlex.quote(str(out / 'timing.log'))}")
    return Group(facts, "", _metric_table(report), "", stage_table(report), "", places)


def _metric_table(report: dict[str, Any]) -> Table:
    table = Table(title="Against the recording", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("metric")
    table.add_column("zero fill", justify="right")
    table.add_column(report["method"], justify="right")
    table.add_column("better is", style="dim")
    for name in METRICS:
        label, better = METRIC_LABELS[name]
        before, after = report["lossy"][name], report[name]
        style = ""
        if before is not None and after is not None and after != before:
            style = "green" if (after > before) == (better == "higher") else "red"
        table.add_row(label, _figure(before), Text(_figure(after), style=style), better)
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
