"""Scores: time, excerpts, instruments."""

from pathlib import Path

import mido
import numpy as np
import pytest

from continuo.firmware_py.errors import InputError
from continuo.models.data.midi import PROGRAMS, Excerpt, choose_excerpt, choose_program, read_score, write_excerpt


def note(pitch: int, channel: int, ticks: int, wait: int = 0) -> list[mido.Message]:
    return [
        mido.Message("note_on", channel=channel, note=pitch, velocity=80, time=wait),
        mido.Message("note_off", channel=channel, note=pitch, time=ticks),
    ]


def save(path: Path, *tracks: list[mido.Message]) -> Path:
    mido.MidiFile(ticks_per_beat=480, tracks=[mido.MidiTrack(t) for t in tracks]).save(path)
    return path


def two_parts(path: Path) -> Path:
    """Violin and cello from 1 s and 2 s on, with a drum and a tempo that halves after 2 s."""
    tempo = [mido.MetaMessage("set_tempo", tempo=500_000), mido.MetaMessage("set_tempo", tempo=1_000_000, time=1920)]
    violin = [mido.Message("program_change", program=40), *note(70, 0, 960, wait=960)]
    cello = [mido.Message("program_change", channel=1, program=42), *note(50, 1, 480, wait=1920), *note(51, 1, 480)]
    drum = note(36, 9, 100)
    return save(path, tempo, violin, cello, drum)


def test_tempo_changes_become_seconds(tmp_path: Path) -> None:
    score = read_score(two_parts(tmp_path / "a.mid"))
    np.testing.assert_allclose(score.notes, [[1, 2], [2, 3], [3, 4]])
    assert score.programs == {0: 40, 1: 42}


@pytest.mark.parametrize("program", [None, 73])
def test_excerpt_starts_at_zero_with_its_instruments(tmp_path: Path, program: int | None) -> None:
    score = read_score(two_parts(tmp_path / "a.mid"))
    write_excerpt(tmp_path / "b.mid", score, Excerpt(2.0, 1.5), program)
    cut = read_score(tmp_path / "b.mid")
    np.testing.assert_allclose(cut.notes[:, 0], [0, 1])
    assert cut.programs == {1: 42 if program is None else 73}
    played = {m.program for _, m in cut.messages if m.type == "program_change"}
    assert played == ({40, 42} if program is None else {73})
    assert mido.MidiFile(tmp_path / "b.mid").length == pytest.approx(2.5)
    silenced = {m.channel for at_s, m in cut.messages if m.is_cc(120) and at_s == pytest.approx(2.5)}
    assert silenced == set(range(16))  # a held note would be rendered without end


def test_excerpt_avoids_rests(tmp_path: Path) -> None:
    minute_of_rest = 60 * 960
    bar = [m for _ in range(40) for m in note(60, 0, 960)]
    score = read_score(save(tmp_path / "a.mid", [*note(60, 0, 10), *note(60, 0, 10, wait=minute_of_rest), *bar]))
    for seed in range(20):
        excerpt = choose_excerpt(score, 10, np.random.default_rng(seed))
        assert excerpt.start_s > 59
        assert excerpt.start_s + excerpt.length_s <= score.notes.max() + 1e-9


def test_short_score_is_taken_whole(tmp_path: Path) -> None:
    score = read_score(two_parts(tmp_path / "a.mid"))
    assert choose_excerpt(score, 40, np.random.default_rng(0)) == Excerpt(1.0, 4.0)


def test_half_of_the_scores_of_several_parts_keep_their_instruments(tmp_path: Path) -> None:
    several = read_score(two_parts(tmp_path / "a.mid"))
    drawn = [choose_program(several, np.random.default_rng(seed)) for seed in range(400)]
    assert 160 < drawn.count(None) < 240
    assert {p for p in drawn if p is not None} == set(PROGRAMS)
    single = read_score(save(tmp_path / "b.mid", note(60, 0, 480)))
    assert None not in {choose_program(single, np.random.default_rng(seed)) for seed in range(50)}


@pytest.mark.parametrize(
    "content", [b"", b"MThd", b"RIFF" * 20, b"MThd\0\0\0\6\0\1\0\1\1\xe0MTrk\0\0\0\4\xff\xff\xff\xff"]
)
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mid").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.mid"):
        read_score(tmp_path / "a.mid")


def test_drums_alone_are_no_score(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no note"):
        read_score(save(tmp_path / "a.mid", note(36, 9, 480)))
