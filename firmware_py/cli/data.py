"""``continuo data``: hands over to the folder that makes data to train on."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import MissingError
from .progress import progress_bar

__all__ = ["app"]

app = typer.Typer(help="Make data to train on.", no_args_is_help=True)


@app.command()
def render(
    midi_dir: Annotated[Path, typer.Argument(metavar="MIDI_DIR", help="A folder of scores, searched recursively.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for the audio and its manifest.csv.")],
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="CSV", help="With columns file and pool; default: midi_manifest.csv in MIDI_DIR or beside it."
        ),
    ] = None,
    pool: Annotated[str, typer.Option(help="Scores of this pool only; `test` is for evaluation.")] = "train",
    soundfont: Annotated[
        Path | None, typer.Option(metavar="SF2", help="Default: FluidR3, or MuseScore General, of Debian.")
    ] = None,
    seconds_per_score: Annotated[float, typer.Option(min=1, max=3600, help="Longest excerpt of a score.")] = 40.0,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Render so many scores, drawn at random.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Draws scores, excerpts and instruments.")] = 0,
) -> None:
    """Render scores with FluidSynth: mono FLAC at 44.1 kHz. Goes on where an interrupted run was."""
    source: Any
    try:
        from ...models.data import render as source  # noqa: PLC0415 (mido: extra train)
    except ImportError as error:
        raise MissingError(
            f"rendering needs {error.name or 'mido'}: pip install 'continuo-nmp[train]' (or mido alone)"
        ) from None
    font = source.find_soundfont(soundfont)
    scores = source.find_scores(midi_dir, manifest or source.find_manifest(midi_dir), pool, seed)[:limit]
    with progress_bar(quiet=False) as progress:
        task = progress.add_task("rendering", total=len(scores))
        rendered = source.render_scores(
            scores, out, soundfont=font, seconds_per_score=seconds_per_score, seed=seed,
            progress=lambda done: progress.update(task, completed=done),
        )  # fmt: skip
    for line in rendered.unplayable:
        typer.echo(f"continuo: left out: {line}", err=True)
    typer.echo(
        f"{rendered.made} rendered with {font.name}, {rendered.kept} kept, {len(rendered.unplayable)} left out: "
        f"{rendered.manifest}"
    )
