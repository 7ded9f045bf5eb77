"""Scores (Standard MIDI Files): what sounds when, an excerpt worth hearing, and the instrument that plays it."""

from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
from numpy.typing import NDArray

from ...firmware_py.errors import InputError

__all__ = ["PROGRAMS", "Excerpt", "Score", "choose_excerpt", "choose_program", "read_score", "write_excerpt"]

PROGRAMS = {
    0: "piano", 6: "harpsichord", 19: "organ",
    24: "guitar", 40: "violin", 42: "cello",
    66: "tenor saxophone", 71: "clarinet", 73: "flute",
}  # fmt: skip
"""General MIDI programs, counted from 0: nine instruments, keyboards, strings, woodwinds (paper 000, section II-D)."""

CHANNELS = 16
DRUM_CHANNEL = 9
ALL_SOUND_OFF = 120
TAIL_S = 1.0
"""Added where the score ends inside the excerpt: the last note rings."""
DRAWS = 16
FULL_COVERAGE = 0.9
TICKS_PER_SECOND = 10_000
_BANK_SELECT = (0, 32)


@dataclass(frozen=True, eq=False)
class Score:
    """A score with its tempo changes resolved to seconds."""

    messages: list[tuple[float, mido.Message]]
    """Time in seconds from the beginning and channel message, in order of time."""
    notes: NDArray[np.float64]
    """Onset and end of each note but drums, in seconds [shape=(notes, 2)], in order of onset; never empty."""
    programs: dict[int, int]
    """Channel to program of its first note; channels that play, without the drums."""


@dataclass(frozen=True)
class Excerpt:
    """A part of a score, in seconds."""

    start_s: float
    length_s: float


def read_score(path: Path) -> Score:
    """Read a score.

    Raises
    ------
    InputError
        When it is no Standard MIDI File of type 0 or 1, is damaged, or holds no note for a pitched instrument.
    """
    try:
        file = mido.MidiFile(path, clip=True)
        messages, now_s = [], 0.0
        for message in file:
            now_s += message.time
            if not message.is_meta and message.type != "sysex":
                messages.append((now_s, message))
    # mido lets through whatever a damaged file makes its parser stumble over
    except (OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        raise InputError(f"{path}: cannot be read as MIDI: {error or type(error).__name__}") from error
    notes, programs = _notes(messages, now_s)
    if not notes:
        raise InputError(f"{path}: no note for a pitched instrument")
    return Score(messages, np.array(sorted(notes)), programs)


def choose_excerpt(score: Score, seconds: float, rng: np.random.Generator) -> Excerpt:
    """Draw ``seconds`` of the score that begin with a note and hold few rests; a shorter score from its first note on.

    Of up to 16 onsets drawn, the first after which notes sound for 90 % of the time is taken, else the best of them.
    """
    onsets, ends = score.notes.T
    candidates = onsets[onsets <= ends.max() - seconds]
    if not len(candidates):
        return Excerpt(float(onsets[0]), float(min(seconds, ends.max() - onsets[0] + TAIL_S)))
    best_s, best = 0.0, -1.0
    for start_s in rng.choice(candidates, DRAWS):
        covered = _coverage(score.notes, start_s, seconds)
        if covered > best:
            best_s, best = float(start_s), covered
        if best >= FULL_COVERAGE:
            break
    return Excerpt(best_s, seconds)


def choose_program(score: Score, rng: np.random.Generator) -> int | None:
    """Draw one of `PROGRAMS` for all parts; for half of the scores of several parts None: each keeps its own."""
    program = int(rng.choice(list(PROGRAMS)))
    keep = rng.random() < 0.5
    return None if keep and len(score.programs) > 1 else program


def write_excerpt(path: Path, score: Score, excerpt: Excerpt, program: int | None) -> None:
    """Write an excerpt as a MIDI file that begins at its start, with the controllers as they stand there.

    Parameters
    ----------
    path
        The file to make.
    score, excerpt
        Notes that sound already when the excerpt starts are left out.
    program
        Plays every part, and drums are left out; None: the score's own programs.
    """
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=1_000_000)])
    if program is not None:
        track.extend(mido.Message("program_change", channel=c, program=program) for c in sorted(score.programs))
    ticks = 0
    for at_s, message in score.messages:
        is_note = message.type in {"note_on", "note_off"}
        if (is_note and at_s < excerpt.start_s) or (program is not None and _own_sound(message)):
            continue
        if at_s > excerpt.start_s + excerpt.length_s:
            break
        at_ticks = max(0, round((at_s - excerpt.start_s) * TICKS_PER_SECOND))
        track.append(message.copy(time=at_ticks - ticks))
        ticks = at_ticks
    # the synthesiser stops at the end of the track: a little late, so that enough is there to cut
    end_ticks = round((excerpt.length_s + TAIL_S) * TICKS_PER_SECOND)
    # and it goes on for as long as any note is held: without this, for ever
    for channel in range(CHANNELS):
        wait = end_ticks - ticks if channel == 0 else 0
        track.append(mido.Message("control_change", channel=channel, control=ALL_SOUND_OFF, value=0, time=wait))
    mido.MidiFile(type=0, ticks_per_beat=TICKS_PER_SECOND, tracks=[track]).save(path)


def _own_sound(message: mido.Message) -> bool:
    """What belongs to the score's own instruments: their programs, their banks, the drums."""
    is_bank = message.type == "control_change" and message.control in _BANK_SELECT
    drum = getattr(message, "channel", None) == DRUM_CHANNEL
    return message.type == "program_change" or is_bank or drum


def _notes(
    messages: list[tuple[float, mido.Message]], end_s: float
) -> tuple[list[tuple[float, float]], dict[int, int]]:
    """Onsets and ends in seconds, and the programs of the channels that play. A note never ended lasts to ``end_s``."""
    current: dict[int, int] = {}
    programs: dict[int, int] = {}
    sounding: dict[tuple[int, int], list[float]] = {}
    notes = []
    for at_s, message in messages:
        if message.type == "program_change":
            current[message.channel] = message.program
        if message.type not in {"note_on", "note_off"} or message.channel == DRUM_CHANNEL:
            continue
        onsets = sounding.setdefault((message.channel, message.note), [])
        if message.type == "note_on" and message.velocity:
            programs.setdefault(message.channel, current.get(message.channel, 0))
            onsets.append(at_s)
        elif onsets:
            notes.append((onsets.pop(0), at_s))
    notes += [(onset_s, end_s) for onsets in sounding.values() for onset_s in onsets]
    return notes, programs


def _coverage(notes: NDArray[np.float64], start_s: float, seconds: float) -> float:
    """Share of the time, 0 to 1, in which a note that begins after ``start_s`` sounds."""
    inside = notes[(notes[:, 0] >= start_s) & (notes[:, 0] < start_s + seconds)]
    onsets, ends = inside[:, 0], np.minimum(inside[:, 1], start_s + seconds)
    before = np.concatenate(([start_s], np.maximum.accumulate(ends)[:-1]))
    return float(np.maximum(0.0, ends - np.maximum(onsets, before)).sum() / seconds)
