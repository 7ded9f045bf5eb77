"""``continuo evaluate``: methods compared over a folder of clips."""

import contextlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..atomic import atomic_folder
from ..errors import MissingError
from ..evaluate import Evaluation, evaluate, find_clips, write_evaluation
from ..methods import METHODS
from ..metrics import METRICS, installed_metrics
from ..pictures import METRIC_LABELS, save_method_picture
from .progress import progress_bar

__all__ = ["evaluate_command"]

_PICTURE = "metrics.png"
_PIPE_COLUMNS = 130


def evaluate_command(
    clips: Annotated[Path, typer.Argument(metavar="CLIPS_DIR", help="A folder of recordings.")],
    *,
    traces: Annotated[
        Path, typer.Option(metavar="DIR", help="A folder with a trace per recording: piano.flac, piano.txt.")
    ],
    methods: Annotated[
        str, typer.Option(metavar="M,M,...", help=f"Of {', '.join(METHODS)}. The others are compared with the first.")
    ],
    metrics: Annotated[
        str | None, typer.Option(metavar="NAME,...", help=f"Of {', '.join(METRICS)}; all that are installed.")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write JSON, CSV and a picture there.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    packet: Annotated[int, typer.Option(metavar="SAMPLES", help="Packet size, 32 to 1024.")] = 512,
    jobs: Annotated[int | None, typer.Option(metavar="N", help="Processes to use; as many as there are cores.")] = None,
    repeat_trace: Annotated[bool, typer.Option("--repeat-trace", help="Start short traces over.")] = False,
) -> None:
    """Run every clip through every method; mean, median and 95 % confidence interval (Student's t) over the clips."""
    wanted = _names(metrics) if metrics is not None else installed_metrics()
    pairs = find_clips(clips, traces)
    with contextlib.ExitStack() as stack:
        folder = None if out is None else stack.enter_context(atomic_folder(out, (_PICTURE,)))
        with progress_bar(quiet=as_json) as progress:
            task = progress.add_task("evaluating", total=None)
            evaluation = evaluate(
                pairs, _names(methods), metrics=wanted, packet_samples=packet, repeat_trace=repeat_trace, jobs=jobs,
                progress=lambda done, total: progress.update(task, completed=done, total=total),
            )  # fmt: skip
        about = {"clips_folder": clips.name, "traces_folder": traces.name, "packet_samples": packet}
        about |= {"confidence": "95 %, Student's t over clips", "compared_with": _names(methods)[0]}
        if folder is not None:
            write_evaluation(folder, evaluation, about)
            try:
                save_method_picture(evaluation.clips, evaluation.summary, folder / _PICTURE)
            except MissingError as error:  # the figures are there
                typer.echo(f"continuo: {error}", err=True)
    if metrics is None and set(wanted) != set(METRICS):
        typer.echo("continuo: no visqol: it is not installed; pip install 'continuo-nmp[eval]'", err=True)
    if as_json:
        typer.echo(json.dumps({**about, **asdict(evaluation)}, indent=2, allow_nan=False))
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _PIPE_COLUMNS)
    console.print(_clip_table(evaluation), "", _summary_table(evaluation), sep="\n")
    if out is not None:
        console.print(f"\nresults: {out}", soft_wrap=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _summary_table(evaluation: Evaluation) -> Table:
    methods = list(evaluation.summary)
    count = len({row["clip"] for row in evaluation.clips})
    table = Table(
        title=f"Over {count} clip{'s' if count > 1 else ''}; in brackets the 95 % confidence interval of the mean "
        "(Student's t)",
        title_justify="left", title_style="bold", box=None, pad_edge=False,
    )  # fmt: skip
    table.add_column("metric")
    table.add_column("method")
    for heading in ("mean", "", "median"):
        table.add_column(heading, justify="right")
    if len(methods) > 1:
        table.add_column(f"minus {methods[0]}, paired", justify="right")
        table.add_column("", justify="right")
    for metric in next(iter(evaluation.summary.values())):
        best = _best(metric, evaluation.summary)
        label, better = METRIC_LABELS[metric]
        for index, method in enumerate(methods):
            cell = evaluation.summary[method][metric]
            first = (label, Text(f"{better} is better", style="dim"))[index] if index < 2 else ""
            style = "bold green" if method == best else ""
            row: list[str | Text] = [first, Text(method, style=style), Text(_figure(cell["mean"]), style=style)]
            row += [_interval(cell), _figure(cell["median"])]
            if difference := evaluation.paired.get(method):
                row += [_figure(difference[metric]["mean"], sign=True), _interval(difference[metric], sign=True)]
            table.add_row(*row)
        table.add_row()
    return table


def _clip_table(evaluation: Evaluation) -> Table:
    metrics = list(next(iter(evaluation.summary.values())))
    table = Table(title="Per clip", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column("clip", no_wrap=True)
    table.add_column("lost", justify="right")
    table.add_column("method")
    for heading in (*metrics, "misses", "predict, µs"):
        table.add_column(heading, justify="right", overflow="fold")
    clip = None
    for row in evaluation.clips:
        new = row["clip"] != clip
        clip = row["clip"]
        predict = row["predict_p50_us"]
        table.add_row(
            clip if new else "", f"{row['loss_rate']:.1%}" if new else "", row["method"],
            *(_figure(row[metric]) for metric in metrics),
            Text(f"{row['deadline_misses']:,}", style="red" if row["deadline_misses"] else ""),
            "-" if predict is None else f"{predict:,.0f}",
        )  # fmt: skip
    return table


def _best(metric: str, summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str | None:
    means = {method: cells[metric]["mean"] for method, cells in summary.items() if cells[metric]["mean"] is not None}
    if len(means) < 2:
        return None
    choose: Any = max if METRIC_LABELS[metric][1] == "higher" else min
    best: str = choose(means, key=means.__getitem__)
    return best


def _interval(cell: Mapping[str, Any], sign: bool = False) -> Text:
    if cell["low"] is None:
        return Text("-", style="dim")
    return Text(f"[{_figure(cell['low'], sign=sign)}, {_figure(cell['high'], sign=sign)}]", style="dim")


def _figure(value: float | None, *, sign: bool = False) -> str:
    return "-" if value is None else f"{value:{'+' if sign else ''}.3f}"
