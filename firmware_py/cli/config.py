"""``continuo config``: what the box would run with, and where each value came from."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..control.config import effective_values, is_secret, load_box_config, parse_overrides
from ..errors import InputError

__all__ = ["app"]

_HIDDEN = "(hidden)"

app = typer.Typer(help="Look at the box's configuration.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keeps `show` a subcommand of its own while it is the only one."""


@app.command()
def show(
    config: Annotated[
        Path | None, typer.Option(metavar="BOX.toml", help="The configuration. Without one: the defaults.")
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Instead of the file's value.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of TOML.")] = False,
) -> None:
    """Print every value, as TOML that can be edited, and say which came from the file; keys and tokens stay hidden."""
    overrides = parse_overrides(assign or ())
    values, origins = effective_values(config, overrides)
    try:
        load_box_config(config, overrides)
    except InputError as error:
        if config is not None or overrides:
            raise
        typer.echo(f"continuo: these are the defaults, a box needs more: {error}", err=True)
    for section, table in values.items():
        table.update({key: _HIDDEN for key, value in table.items() if value and is_secret(section, key)})
    typer.echo(json.dumps(_with_origins(values, origins), indent=2) if as_json else _as_toml(values, origins))


def _with_origins(values: dict[str, dict[str, Any]], origins: dict[str, str]) -> dict[str, Any]:
    return {
        section: {key: {"value": value, "from": origins[f"{section}.{key}"]} for key, value in table.items()}
        for section, table in values.items()
    }


def _as_toml(values: dict[str, dict[str, Any]], origins: dict[str, str]) -> str:
    lines = {
        section: {key: f"{key} = {_literal(value)}" for key, value in table.items()}
        for section, table in values.items()
    }
    width = min(40, max(len(line) for table in lines.values() for line in table.values()))
    blocks = []
    for section, table in lines.items():
        rows = [f"{line:<{width}}  # {origins[f'{section}.{key}']}" for key, line in table.items()]
        blocks.append("\n".join([f"[{section}]", *rows]))
    return "\n\n".join(blocks)


def _literal(value: Any) -> str:
    """A JSON string is a TOML string, but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
