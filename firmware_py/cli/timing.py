"""``continuo timing``: read the timing log of a session or of the simulator."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ..control.timing_folder import read_timing
from ..control.timing_log import write_timing_csv
from ..control.timing_plot import save_timing_picture
from ..control.timing_report import picture_path, render_report, summary
from ..control.timing_trace import write_chrome_trace
from ..errors import InputError, MissingError

__all__ = ["app"]

app = typer.Typer(help="Report or export the timing log: one row per packet.", no_args_is_help=True)

LogArgument = Annotated[
    Path, typer.Argument(metavar="LOG", help="A timing log, the folder of a box's, or a timing.csv of `simulate`.")
]
BackOption = Annotated[int, typer.Option(metavar="SESSIONS", min=0, help="Of a folder: so many before the last one.")]


@app.command()
def report(
    log: LogArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="PNG_OR_DIR", help="Also draw a picture: a file, or a folder for timing.png.")
    ] = None,
    back: BackOption = 0,
) -> None:
    """Say how long the stages took, how near they came to the deadline, and of a box where dropouts came from."""
    picture = None if out is None else picture_path(out)
    timing_log, folder = read_timing(log, back)
    if as_json:
        typer.echo(json.dumps(summary(timing_log), indent=2))
    else:
        Console(highlight=False).print(render_report(timing_log, folder))
    if picture is None:
        return
    try:
        save_timing_picture(timing_log, picture)
    except MissingError as error:  # the report itself is done
        typer.echo(f"continuo: {error}", err=True)
    else:
        typer.echo(f"picture: {picture}", err=as_json)


@app.command()
def export(
    log: LogArgument,
    csv: Annotated[Path | None, typer.Option(metavar="OUT.csv", help="Write the rows as CSV.")] = None,
    chrome_trace: Annotated[
        Path | None, typer.Option(metavar="OUT.json", help="Write a trace that ui.perfetto.dev opens.")
    ] = None,
    back: BackOption = 0,
) -> None:
    """Write the log in a form that other programs read."""
    if (csv is None) == (chrome_trace is None):
        raise InputError("say what to export: exactly one of --csv OUT.csv and --chrome-trace OUT.json")
    timing_log, _ = read_timing(log, back)
    if csv is not None:
        write_timing_csv(csv, timing_log.rows)
    elif chrome_trace is not None:
        write_chrome_trace(chrome_trace, timing_log)
    typer.echo(f"{len(timing_log.rows):,} packets: {csv or chrome_trace}")
