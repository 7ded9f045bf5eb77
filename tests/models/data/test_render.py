"""Scores rendered by the real FluidSynth, from MIDI files that the tests write."""

import csv
import shutil
import sys
from pathlib import Path

import mido
import numpy as np
import pytest

from continuo.firmware_py import cli
from continuo.firmware_py.audio_file import read_audio
from continuo.models.data import render
from continuo.models.data.midi import PROGRAMS

SOUNDFONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")
pytestmark = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or not SOUNDFONT.exists(),
    reason="apt-get install fluidsynth timgm6mb-soundfont",
)
COLUMNS = ("file", "pool", "licence", "author", "notes")
LISTED = [("one", "train"), ("two", "train"), ("judge", "test"), ("both", "train"), ("both", "test")]


def write_score(path: Path, pitches: list[int]) -> None:
    """A silent bar, then half-second notes (120 beats a minute), one part."""
    track = mido.MidiTrack([mido.Message("note_on", note=p, velocity=0) for p in pitches[:1]])
    for index, pitch in enumerate(pitches):
        track.append(mido.Message("note_on", note=pitch, velocity=90, time=0 if index else 1920))
        track.append(mido.Message("note_off", note=pitch, time=480))
    mido.MidiFile(tracks=[track]).save(path)


@pytest.fixture
def scores(tmp_path):
    folder = tmp_path / "midi"
    folder.mkdir()
    for index, name in enumerate(["one", "two", "judge", "both", "unlisted"]):
        write_score(folder / f"{name}.mid", [60 + index, 64, 67, 72])
    with (tmp_path / "midi_manifest.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [COLUMNS, *((f"midi/{name}.mid", pool, "CC0-1.0", "Anon, A.", "4") for name, pool in LISTED)]
        )
    return folder


@pytest.fixture
def continuo_render(monkeypatch, capsys):
    """Call ``continuo data render``; return exit code, stdout, stderr."""

    def call(*arguments, soundfont=SOUNDFONT):
        words = ["continuo", "data", "render", *map(str, arguments), "--seconds-per-score", "1"]
        monkeypatch.setattr(sys, "argv", words + ([] if soundfont is None else ["--soundfont", str(soundfont)]))
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return call


def rows(folder):
    with (folder / "manifest.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_renders_its_pool_and_nothing_else(scores, tmp_path, continuo_render):
    out = tmp_path / "out"
    code, said, _ = continuo_render(scores, out)
    assert code == 0
    assert said.startswith("2 rendered with TimGM6mb.sf2, 0 kept, 0 left out")
    assert sorted(p.name for p in out.iterdir()) == ["manifest.csv", "one.flac", "two.flac"]
    for row in rows(out):
        audio = read_audio(out / row["file"])
        assert (audio.sample_rate_hz, audio.channels, audio.frames) == (44_100, 1, 44_100)
        assert np.abs(audio.samples).max() == pytest.approx(render.PEAK, abs=1e-3)
        assert np.abs(audio.samples[:4410]).max() > 0.01  # starts with a note, not in the empty bar
        assert float(row["start_s"]) >= 2.0
        assert int(row["program"]) in PROGRAMS
        assert (row["licence"], row["author"]) == ("CC0-1.0", "Anon, A.")
        assert (row["soundfont_licence"], row["pool"], row["seconds"]) == ("GPL-2.0-only", "train", "1.000")


def test_same_seed_same_bytes(scores, tmp_path, continuo_render):
    a, b, c = (tmp_path / name for name in "abc")
    continuo_render(scores, a)
    continuo_render(scores, b, "--limit", 1)
    continuo_render(scores, c, "--seed", 1)
    assert len(rows(b)) == 1
    name = rows(b)[0]["file"]
    assert (a / name).read_bytes() == (b / name).read_bytes()
    assert any((a / row["file"]).read_bytes() != (c / row["file"]).read_bytes() for row in rows(c))


def test_goes_on_where_it_was(scores, tmp_path, continuo_render):
    out = tmp_path / "out"
    continuo_render(scores, out)
    before = {name: (out / name).stat() for name in ("one.flac", "two.flac")}
    (out / "two.flac").unlink()
    assert continuo_render(scores, out)[1].startswith("1 rendered with TimGM6mb.sf2, 1 kept")
    assert (out / "one.flac").stat().st_mtime_ns == before["one.flac"].st_mtime_ns
    assert (out / "two.flac").stat().st_size == before["two.flac"].st_size
    assert continuo_render(scores, out, "--seed", 3)[1].startswith("2 rendered")  # not those settings
    assert {row["seed"] for row in rows(out)} == {"3"}


def test_pools_are_not_mixed(scores, tmp_path, continuo_render):
    out = tmp_path / "out"
    assert continuo_render(scores, out)[0] == 0
    code, _, error = continuo_render(scores, out, "--pool", "test")
    assert code == 2
    assert "pools test and train" in error
    assert not (out / "judge.flac").exists()


def test_somebody_elses_manifest_stays(scores, tmp_path, continuo_render):
    (tmp_path / "manifest.csv").write_text("file,licence\na.flac,CC0\n")
    code, _, error = continuo_render(scores, tmp_path)
    assert (code, "another folder" in error) == (2, True)
    assert (tmp_path / "manifest.csv").read_text().startswith("file,licence")


def test_a_damaged_score_is_left_out_aloud(scores, tmp_path, continuo_render):
    (scores / "one.mid").write_bytes((scores / "one.mid").read_bytes()[:30])
    write_score(scores / "two.mid", [60, 62, 64])
    code, said, error = continuo_render(scores, tmp_path / "out")
    assert (code, "1 rendered" in said, "left out" in error, "one.mid" in error) == (0, True, True, True)
    (scores / "two.mid").write_bytes(b"")
    code, _, error = continuo_render(scores, tmp_path / "none")
    assert (code, "none of 2 scores" in error) == (2, True)


def test_bad_input(scores, tmp_path, continuo_render):
    out = tmp_path / "out"
    damaged, text = tmp_path / "damaged.sf2", tmp_path / "text.sf2"
    damaged.write_bytes(SOUNDFONT.read_bytes()[:100_000])
    text.write_text("no soundfont")
    for arguments, soundfont, words in [
        ([tmp_path / "nowhere", out, "--manifest", tmp_path / "midi_manifest.csv"], SOUNDFONT, "is no folder"),
        ([scores, out, "--manifest", tmp_path / "none.csv"], SOUNDFONT, "No such file"),
        ([scores, out, "--pool", "tset"], SOUNDFONT, "pools are test, train"),
        ([scores, out], tmp_path / "none.sf2", "cannot be read"),
        ([scores, out], text, "is no soundfont"),
        ([scores, out], damaged, "damaged"),
    ]:
        code, _, error = continuo_render(*arguments, soundfont=soundfont)
        assert (code, words in error, error.count("\n")) == (2, True, 1), error
    (tmp_path / "midi_manifest.csv").unlink()
    code, _, error = continuo_render(scores, out)
    assert (code, "--manifest" in error) == (2, True)
    assert not out.exists()


def test_what_is_missing_is_named(scores, tmp_path, continuo_render, monkeypatch):
    monkeypatch.setattr(render, "SOUNDFONTS", {})
    code, _, error = continuo_render(scores, tmp_path / "out", soundfont=None)
    assert (code, "apt-get install fluid-soundfont-gm" in error) == (3, True)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, error = continuo_render(scores, tmp_path / "out")
    assert (code, "apt-get install fluidsynth" in error) == (3, True)
