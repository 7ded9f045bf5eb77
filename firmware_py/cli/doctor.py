"""``continuo doctor``: what stands in the way of playing, and what to do about it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ..control.config import load_box_config, parse_overrides
from ..control.finding import Finding, Verdict

__all__ = ["doctor_command"]

_SOMETHING_MISSING = 3


def doctor_command(
    config: Annotated[
        Path | None, typer.Option(metavar="BOX.toml", help="The box's configuration. Without one: the defaults.")
    ] = None,
    assign: Annotated[
        list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Instead of the file's value.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check real time, kernel, CPUs, sound device, network and concealment; each line says ok, warn or fail.

    Plays a second of silence. Exit codes: 0 the box can play (there may be warnings), 2 bad usage or configuration,
    3 something failed.
    """
    overrides = parse_overrides(assign or ())
    if config is None:  # the defaults lack a key, and that is not what we are asked about
        overrides.setdefault("net.insecure", True)
    box, _ = load_box_config(config, overrides)
    from ..control.doctor import diagnose  # noqa: PLC0415 (compilers: slow to load)

    findings: list[Finding] = []
    for finding in diagnose(box, configured=config is not None):
        findings.append(finding)
        if not as_json:
            typer.echo(_as_line(finding))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=2))
    if any(finding.verdict == Verdict.FAIL for finding in findings):
        raise typer.Exit(_SOMETHING_MISSING)


def _as_line(finding: Finding) -> str:
    remedy = f": {finding.remedy}" if finding.remedy else ""
    return f"{finding.verdict:<4}  {finding.name:<18}  {finding.says}{remedy}"
