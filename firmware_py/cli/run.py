"""``continuo run``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..control.config import load_box_config, parse_overrides

__all__ = ["run_command"]


def run_command(
    config: Annotated[Path, typer.Option("--config", help="The box's configuration, TOML.")],
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Instead of what the file says.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Go without encryption and authentication; a key is not used.")
    ] = False,
    measure_latency: Annotated[
        bool, typer.Option("--measure-latency", help="Send a click round, say how long it took, and leave.")
    ] = False,
    seconds: Annotated[float | None, typer.Option(min=0.1, help="Leave after so long. Default: on a signal.")] = None,
) -> None:
    """Play with a peer: capture, send, receive, conceal, play, log.

    Leaves on SIGTERM or Ctrl-C: fades out, says goodbye to the peer, writes what is left of its logs.
    """
    overrides: dict[str, Any] = parse_overrides(set_ or [])
    if insecure:
        overrides |= {"net.insecure": True, "net.key": "", "net.key_file": ""}
    box, _ = load_box_config(config, overrides)
    from ..box.run import run_box  # noqa: PLC0415 (compilers: slow to load)
    from ..box.supervisor import ChildFailedError  # noqa: PLC0415

    try:
        run_box(config, box, seconds=seconds, measure=typer.echo if measure_latency else None)
    except ChildFailedError as error:
        if str(error):
            raise
        raise typer.Exit(error.exit_code) from None  # the process that failed has said why
