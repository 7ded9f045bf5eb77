"""``continuo status``."""

import json
import time
from pathlib import Path
from shutil import get_terminal_size
from typing import Annotated

import typer

from ..control.config import load_box_config, parse_overrides
from ..control.status_line import status_line
from ..control.status_reader import StatusReader, page_reader, reader_of
from ..errors import InputError

__all__ = ["status_command"]

_REFRESH_S = 0.5


def status_command(
    config: Annotated[
        Path | None, typer.Option(metavar="BOX.toml", help="The configuration that the box on this machine runs from.")
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="As given to `continuo run`.")
    ] = None,
    url: Annotated[str | None, typer.Option(help="Or the address of a box's page, such as http://box:8080.")] = None,
    token: Annotated[str, typer.Option(envvar="CONTINUO_TOKEN", help="With --url: the page's token.")] = "",
    once: Annotated[bool, typer.Option("--once", help="Print one line and leave.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything that is known, once, as JSON.")] = False,
) -> None:
    """Say what a running box is doing, on one line that follows it until Ctrl-C."""
    if (config is None) == (url is None):
        raise InputError("say which box: exactly one of --config BOX.toml and --url http://...")
    if config is not None:
        read = reader_of(config, load_box_config(config, parse_overrides(assign or ()))[0])
    else:
        read = page_reader(url or "", token)
    if as_json:
        typer.echo(json.dumps(read(), indent=2))
    elif once or not _is_terminal():
        typer.echo(status_line(read(), get_terminal_size((120, 1)).columns))
    else:
        _follow(read)


def _follow(read: StatusReader) -> None:
    try:
        while True:
            width = get_terminal_size().columns - 1
            typer.echo(f"\r{status_line(read(), width):<{width}}", nl=False)
            time.sleep(_REFRESH_S)
    except KeyboardInterrupt:
        return
    finally:
        typer.echo()


def _is_terminal() -> bool:
    return typer.get_text_stream("stdout").isatty()
