"""Scores rendered to audio to train on, with the real FluidSynth, as paper 000 did (section II-D)."""

import csv
import os
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ...firmware_py.atomic import atomic_path
from ...firmware_py.audio_file import read_audio, write_audio
from ...firmware_py.errors import InputError, MissingError, RunError
from .midi import choose_excerpt, choose_program, read_score, write_excerpt

__all__ = ["SOUNDFONTS", "Rendered", "ScoreFile", "find_manifest", "find_scores", "find_soundfont", "render_scores"]

SAMPLE_RATE_HZ = 44_100
PEAK = 10 ** (-1 / 20)
"""Every rendering is brought to a peak of -1 dBFS."""
SILENT_PEAK = 1e-3
TIMEOUT_S = 60
"""Besides as long as the excerpt lasts; it takes a twentieth of that."""
MANIFEST = "manifest.csv"
MIDI_MANIFEST = "midi_manifest.csv"
MIDI_SUFFIXES = {".mid", ".midi"}

SOUNDFONTS = {
    "FluidR3_GM.sf2": ("/usr/share/sounds/sf2", "fluid-soundfont-gm", "MIT"),
    "MuseScore_General_Lite.sf3": ("/usr/share/sounds/sf3", "musescore-general-soundfont-small", "MIT"),
    "TimGM6mb.sf2": ("/usr/share/sounds/sf2", "timgm6mb-soundfont", "GPL-2.0-only"),
}
"""Name to folder, Debian package, licence by the package's copyright file. Those under MIT are used unasked."""

CARRIED = ("source_repo", "source_path", "commit", "licence", "licence_evidence", "author")
"""Columns of the scores' manifest that go on into that of the audio."""
OWN = (
    "file", "score", "pool", "soundfont", "soundfont_licence", "program", "own_programs", "start_s", "seconds",
    "seconds_per_score", "seed",
)  # fmt: skip
_SAME = ("score", "pool", "soundfont", "seconds_per_score", "seed")


class _UnplayableError(InputError):
    """Of one score; the others are rendered all the same."""


@dataclass(frozen=True)
class ScoreFile:
    """A score to render."""

    path: Path
    row: dict[str, str]
    """Of the scores' manifest."""
    out: Path
    """Of its rendering, below the folder to render to."""


@dataclass
class Rendered:
    """What came of rendering a folder."""

    manifest: Path
    made: int = 0
    kept: int = 0
    """Already there, from an earlier run with the same settings."""
    unplayable: list[str] = field(default_factory=list)
    """One line each: which score, and why."""


def find_manifest(midi_dir: Path) -> Path:
    """The ``midi_manifest.csv`` in a folder of scores, or beside it.

    Raises
    ------
    InputError
        When there is none.
    """
    for folder in (midi_dir, midi_dir.resolve().parent):
        if (folder / MIDI_MANIFEST).is_file():
            return folder / MIDI_MANIFEST
    raise InputError(
        f"no {MIDI_MANIFEST} in {midi_dir} or beside it: give --manifest, a CSV with columns file and pool"
    )


def find_scores(midi_dir: Path, manifest: Path, pool: str, seed: int) -> list[ScoreFile]:
    """Scores below ``midi_dir`` that the manifest puts in ``pool``, in an order drawn with ``seed``.

    The manifest's column ``file`` is how a score's path ends. What it does not list, or lists in another pool as well,
    is left out: what is for evaluation must not be trained on.

    Raises
    ------
    InputError
        When the folder or the manifest is no such thing, no score is in the pool, or two would have one rendering.
    """
    if not midi_dir.is_dir():
        raise InputError(f"{midi_dir} is no folder: give the folder that holds the scores")
    rows = _manifest_rows(manifest)
    pools = sorted({row["pool"] for listed in rows.values() for row in listed})
    scores: dict[Path, ScoreFile] = {}
    for path in sorted(p for p in midi_dir.resolve().rglob("*") if p.suffix.lower() in MIDI_SUFFIXES):
        tails = (Path(*path.parts[-n:]).as_posix() for n in range(1, len(path.parts)))
        listed = [row for tail in tails for row in rows.get(tail, ())]
        if not listed or any(row["pool"] != pool for row in listed):
            continue
        out = path.relative_to(midi_dir.resolve()).with_suffix(".flac")
        if out in scores:
            raise InputError(f"{path} and {scores[out].path.name} would both become {out}: rename one of them")
        scores[out] = ScoreFile(path, listed[-1], out)
    if not scores:
        raise InputError(
            f"no score below {midi_dir} is in the pool {pool!r} of {manifest}: its pools are {', '.join(pools)}"
        )
    order = np.random.default_rng(seed).permutation(len(scores))
    return [list(scores.values())[i] for i in order]


def find_soundfont(chosen: Path | None = None) -> Path:
    """The soundfont to render with: ``chosen``, or the first under the MIT licence that Debian installed.

    Raises
    ------
    InputError
        When ``chosen`` is no soundfont.
    MissingError
        When none is chosen and none is installed.
    """
    if chosen is None:
        free = [(Path(folder) / name) for name, (folder, _, licence) in SOUNDFONTS.items() if licence == "MIT"]
        for path in free:
            if path.is_file():
                return path
        raise MissingError("no soundfont: apt-get install fluid-soundfont-gm, or give --soundfont FILE.sf2")
    try:
        with chosen.open("rb") as stream:
            head = stream.read(12)
    except OSError as error:
        raise InputError(f"{chosen}: cannot be read: {error.strerror}: give a soundfont (.sf2 or .sf3)") from error
    if head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise InputError(f"{chosen}: is no soundfont: give an .sf2 or .sf3 file")
    return chosen.resolve()


def render_scores(
    scores: Sequence[ScoreFile],
    out: Path,
    *,
    soundfont: Path,
    seconds_per_score: float,
    seed: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Rendered:
    """Render an excerpt of each score to mono FLAC at 44.1 kHz below ``out``, and list them in its ``manifest.csv``.

    What a score becomes follows from its name and ``seed`` alone. What ``manifest.csv`` lists with the same settings
    is kept, so that an interrupted run goes on where it was.

    Parameters
    ----------
    scores
        From `find_scores`, all of one pool.
    out
        The folder to make or to go on with.
    soundfont
        From `find_soundfont`.
    seconds_per_score
        The longest a rendering gets; shorter scores give shorter ones.
    seed
        Draws excerpts and instruments.
    progress
        Called with the number of scores done, after each.

    Raises
    ------
    MissingError
        When FluidSynth is not installed.
    InputError
        When ``out`` holds another pool or somebody else's manifest, the soundfont is damaged, or no score is playable.
    RunError
        When FluidSynth fails or nothing can be written.
    """
    fluidsynth = shutil.which("fluidsynth")
    if fluidsynth is None:
        raise MissingError("rendering needs FluidSynth: apt-get install fluidsynth")
    result = Rendered(out / MANIFEST)
    done = _rendered_before(result.manifest)
    pools = {score.row["pool"] for score in scores} | {row["pool"] for row in done.values()}
    if len(pools) > 1:
        raise InputError(f"{out} would hold scores of the pools {' and '.join(sorted(pools))}: give a folder for each")
    for count, score in enumerate(scores, start=1):
        settings = {
            "file": score.out.as_posix(), "score": score.row["file"], "pool": score.row["pool"],
            "soundfont": soundfont.name, "soundfont_licence": SOUNDFONTS.get(soundfont.name, ("", "", ""))[2],
            "seconds_per_score": f"{seconds_per_score:g}", "seed": str(seed),
        }  # fmt: skip
        before = done.get(settings["file"])
        if before and all(before[name] == settings[name] for name in _SAME) and (out / score.out).is_file():
            result.kept += 1
        else:
            rng = np.random.default_rng((seed, zlib.crc32(score.row["file"].encode())))
            try:
                drawn = _render(fluidsynth, soundfont, score, out / score.out, seconds_per_score, rng)
            except _UnplayableError as error:
                result.unplayable.append(str(error))
            else:
                carried = {name: score.row.get(name) or "" for name in CARRIED}
                done[settings["file"]] = settings | drawn | carried
                _write_manifest(result.manifest, done)
                result.made += 1
        progress(count)
    if not result.made + result.kept:
        raise InputError(f"none of {len(scores)} scores can be played; the first: {result.unplayable[0]}")
    return result


def _render(
    fluidsynth: str, soundfont: Path, score: ScoreFile, out: Path, seconds: float, rng: np.random.Generator
) -> dict[str, str]:
    """Render one score; what was drawn for it, as columns of the manifest."""
    try:
        music = read_score(score.path)
    except InputError as error:
        raise _UnplayableError(str(error)) from error
    excerpt, program = choose_excerpt(music, seconds, rng), choose_program(music, rng)
    with tempfile.TemporaryDirectory() as folder:
        midi, wav = Path(folder) / "excerpt.mid", Path(folder) / "excerpt.wav"
        write_excerpt(midi, music, excerpt, program)
        _run_fluidsynth(fluidsynth, soundfont, midi, wav, TIMEOUT_S + excerpt.length_s)
        samples = read_audio(wav).samples.mean(axis=1)[: round(excerpt.length_s * SAMPLE_RATE_HZ)]
    peak = float(np.abs(samples).max())
    if peak < SILENT_PEAK:
        raise _UnplayableError(f"{score.path}: silent with {soundfont.name}, program {program}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out.parent}: cannot be made: {error.strerror}: choose another folder") from error
    write_audio(out, samples * np.float32(PEAK / peak), SAMPLE_RATE_HZ, "PCM_16")
    own = "; ".join(str(p) for p in music.programs.values())
    return {
        "program": own if program is None else str(program), "own_programs": str(int(program is None)),
        "start_s": f"{excerpt.start_s:.3f}", "seconds": f"{len(samples) / SAMPLE_RATE_HZ:.3f}",
    }  # fmt: skip


def _run_fluidsynth(program: str, soundfont: Path, midi: Path, wav: Path, timeout_s: float) -> None:
    """Render ``midi`` to a stereo float WAV; one thread and no configuration of the user's: the same every time."""
    command = [program, "-ni", "-q", "-f", os.devnull, "-o", "synth.cpu-cores=1", "-r", str(SAMPLE_RATE_HZ)]
    command += ["-T", "wav", "-O", "float", "-F", str(wav), str(soundfont), str(midi)]
    try:
        run = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout_s, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunError(f"fluidsynth did not render: {error}") from error
    said = run.stdout + run.stderr
    # it goes on with whatever soundfont is the default, and exits with 0
    if "Failed to load" in said and "SoundFont" in said:
        raise InputError(f"{soundfont}: damaged: FluidSynth cannot load it: install it again or give another one")
    if run.returncode or not wav.is_file():
        last = (said.strip().splitlines() or ["no reason given"])[-1]
        raise RunError(f"fluidsynth failed (exit code {run.returncode}): {last}")


def _manifest_rows(manifest: Path) -> dict[str, list[dict[str, str]]]:
    """Column ``file`` to the rows that name it."""
    rows: dict[str, list[dict[str, str]]] = {}
    for row in _read_csv(manifest):
        if not row.get("file") or not row.get("pool"):
            raise InputError(f"{manifest}: every row needs the columns file and pool: add them")
        rows.setdefault(Path(row["file"]).as_posix(), []).append(row)
    return rows


def _rendered_before(manifest: Path) -> dict[str, dict[str, str]]:
    if not manifest.exists():
        return {}
    rows = _read_csv(manifest)
    if any(set(row) != {*OWN, *CARRIED} for row in rows):
        raise InputError(f"{manifest} is not of rendered scores: render to another folder")
    return {row["file"]: row for row in rows}


def _read_csv(path: Path) -> list[dict[str, str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            return list(csv.DictReader(stream))
    except (OSError, UnicodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as CSV: {getattr(error, 'strerror', None) or error}") from error


def _write_manifest(manifest: Path, rows: dict[str, dict[str, str]]) -> None:
    with atomic_path(manifest) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, [*OWN, *CARRIED], lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for _, row in sorted(rows.items()) if (manifest.parent / row["file"]).is_file())
