import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from continuo.firmware_py.audio_file import read_audio, write_audio
from continuo.firmware_py.cli import simulate as cli_simulate
from continuo.firmware_py.loss import read_trace
from continuo.firmware_py.metrics import METRICS
from continuo.firmware_py.simulate import simulate

FILES = {"lossy.wav", "concealed.wav", "timing.csv", "timing.log", "trace.txt", "report.json"}
PICTURES = {"spectrograms.png", "waveform.png", "timing.png"}
FAST = tuple(name for name in METRICS if name != "visqol")


@pytest.fixture(autouse=True)
def without_visqol(monkeypatch):
    """Half a second of audio is too short for it, and it takes seconds to load."""
    monkeypatch.setattr(cli_simulate, "installed_metrics", lambda: METRICS)
    real = cli_simulate.build_report
    monkeypatch.setattr(cli_simulate, "build_report", lambda *a, **k: real(*a, **{**k, "metrics": FAST}))


@pytest.fixture
def wav(tmp_path):
    at = np.arange(22_050)[:, None] / 44_100
    samples = 0.3 * np.sin(2 * np.pi * np.array([220, 330]) * at)
    path = tmp_path / "duo.wav"
    write_audio(path, samples, 44_100, "PCM_16")
    return path


def test_json_and_nothing_else_on_stdout(continuo, wav):
    code, out, err = continuo("simulate", wav, "--json")
    report = json.loads(out)
    assert (code, err) == (0, "")
    assert (report["input"], report["loss"], report["method"]) == ("duo.wav", "gilbert:p=0.06,r=0.5, seed 0", "lpc")
    assert report["packets"] == 43
    assert set(METRICS) <= set(report)


def test_table(continuo, wav):
    code, out, err = continuo("simulate", wav, "--loss", "0.2", "--method", "repeat")
    assert (code, err) == (0, "")
    for words in (
        "NMSE, lost packets",
        "zero fill",
        "repeat",
        "predict",
        "deadline misses",
        "rungs",
        "bernoulli:p=0.2",
    ):
        assert words in out
    assert "add --out DIR" in out


def test_out(continuo, wav, tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "demo"
    code, text, err = continuo("simulate", wav, "--out", out, "--seed", 3)
    assert (code, err) == (0, "")
    assert {file.name for file in out.iterdir()} == FILES | PICTURES
    assert "spectrograms.png" in text
    assert "continuo timing report" in text
    audio, lost = read_audio(wav), read_trace(out / "trace.txt")
    expected = simulate(audio, lost)
    write_audio(tmp_path / "expected.wav", expected.concealed, 44_100, "PCM_16")
    assert (out / "concealed.wav").read_bytes() == (tmp_path / "expected.wav").read_bytes()
    assert json.loads((out / "report.json").read_text())["lost"] == lost.sum()
    header = (out / "timing.csv").read_text().splitlines()[0]
    assert header.startswith(
        "sequence,lost,rung,predict_ns,refine_ns,crossfade_ns,total_ns,deadline_margin_ns,deadline_missed"
    )
    again = tmp_path / "again"
    continuo("simulate", wav, "--trace", out / "trace.txt", "--out", again)
    assert (again / "concealed.wav").read_bytes() == (out / "concealed.wav").read_bytes()


def test_a_folder_is_reused_and_its_old_pictures_go(continuo, wav, tmp_path):
    out = tmp_path / "demo"
    out.mkdir()
    for name in ("mine.txt", "waveform.png", "report.json"):
        (out / name).write_text("old")
    assert continuo("simulate", wav, "--out", out, "--loss", "0")[0] == 0
    assert (out / "mine.txt").read_text() == "old"
    assert not (out / "waveform.png").exists()
    assert json.loads((out / "report.json").read_text())["lost"] == 0


@pytest.mark.parametrize("trace", ["1" * 43, "1" + "0" * 42, "0" * 43, "0" * 42 + "1"])
def test_all_first_none_and_last_lost(continuo, wav, tmp_path, trace):
    (tmp_path / "t.txt").write_text(trace)
    code, out, _ = continuo("simulate", wav, "--trace", tmp_path / "t.txt", "--json", "--out", tmp_path / "o")
    assert code == 0
    assert json.loads(out)["lost"] == trace.count("1")
    assert {file.name for file in (tmp_path / "o").iterdir()} >= FILES


def test_repeat_trace(continuo, wav, tmp_path):
    (tmp_path / "t.txt").write_text("0001\n")
    code, out, _ = continuo("simulate", wav, "--trace", tmp_path / "t.txt", "--repeat-trace", "--json")
    assert (code, json.loads(out)["lost"]) == (0, 10)


@pytest.mark.parametrize(("subtype", "suffix"), [("PCM_24", "flac"), ("FLOAT", "wav"), ("PCM_32", "wav")])
def test_formats(continuo, tmp_path, subtype, suffix):
    samples = np.random.default_rng(0).normal(0, 0.1, (9600, 3))
    soundfile.write(tmp_path / f"in.{suffix}", samples, 96_000, subtype)
    code, _, _ = continuo(
        "simulate", tmp_path / f"in.{suffix}", "--out", tmp_path / "o", "--packet", 128, "--loss", 0.1
    )
    assert code == 0
    info = soundfile.info(tmp_path / "o" / "concealed.wav")
    assert (info.subtype, info.channels, info.samplerate) == (subtype, 3, 96_000)


def bad_input(tmp_path, kind):
    path = tmp_path / f"{kind}.wav"
    if kind == "not audio":
        path.write_text("this is not music")
    elif kind == "empty":
        path.touch()
    elif kind == "zero-length":
        soundfile.write(path, np.zeros((0, 1)), 44_100)
    elif kind == "nan":
        soundfile.write(path, np.full((5000, 1), np.nan), 44_100, "FLOAT")
    elif kind == "short":
        soundfile.write(path, np.zeros((100, 1)), 44_100)
    elif kind == "low rate":
        soundfile.write(path, np.zeros((5000, 1)), 8000)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such file"),
        ("not audio", "cannot be read as audio"),
        ("empty", "the file is empty"),
        ("zero-length", "no samples"),
        ("nan", "NaN"),
        ("short", "less than one packet"),
        ("low rate", "8000 Hz"),
    ],
)
def test_bad_recordings(continuo, tmp_path, kind, words):
    code, out, err = continuo("simulate", bad_input(tmp_path, kind), "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--trace", "letters.txt"], "line 1, character 3 is 'x'"),
        (["--trace", "short.txt"], "--repeat-trace"),
        (["--trace", "nowhere.txt"], "no such trace file"),
        (["--trace", "short.txt", "--loss", "0.1"], "--trace and --loss"),
        (["--loss", "2"], "not a probability"),
        (["--loss", "gilbert:p=0.1"], "missing"),
        (["--seed", "-1"], "seed"),
        (["--packet", "31"], "32 to 1024"),
        (["--packet", "4096"], "32 to 1024"),
        (["--packet", "many"], "valid integer"),
        (["--method", "magic"], "no method is called 'magic'"),
        (["--method", "parcnet"], "no method is called 'parcnet'"),
        (["--louder"], "--louder"),
    ],
)
def test_bad_options(continuo, wav, tmp_path, options, words):
    (tmp_path / "letters.txt").write_text("01x0")
    (tmp_path / "short.txt").write_text("0101")
    options = [tmp_path / option if option.endswith(".txt") else option for option in options]
    code, out, err = continuo("simulate", wav, *options, "--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["a file", "below a file", "/proc/continuo"])
def test_unwritable_output(continuo, wav, tmp_path, place):
    (tmp_path / "file").touch()
    out = {"a file": tmp_path / "file", "below a file": tmp_path / "file" / "out"}.get(place, Path(place))
    code, _, err = continuo("simulate", wav, "--out", out)
    assert (code, err.count("\n")) == (4, 1)
    assert "cannot write" in err


def test_the_recording_is_never_overwritten(continuo, wav, tmp_path):
    mine = wav.rename(tmp_path / "lossy.wav")
    before = mine.read_bytes()
    code, _, err = continuo("simulate", mine, "--out", tmp_path)
    assert (code, mine.read_bytes()) == (2, before)
    assert "would be overwritten" in err


def test_without_the_extra_it_goes_on(continuo, wav, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr(cli_simulate, "installed_metrics", lambda: FAST)
    code, out, err = continuo("simulate", wav, "--out", tmp_path / "o", "--json")
    assert (code, json.loads(out)["visqol"]) == (0, None)
    assert err.splitlines() == [
        "continuo: no picture: matplotlib is not installed; pip install 'continuo-nmp[eval]'",
        "continuo: no visqol: it is not installed; pip install 'continuo-nmp[eval]'",
    ]
    assert {file.name for file in (tmp_path / "o").iterdir()} == FILES


def test_ctrl_c_leaves_nothing_half_written(tmp_path):
    soundfile.write(tmp_path / "long.wav", np.random.default_rng(0).normal(0, 0.1, 44_100 * 120), 44_100)
    program = "from continuo.firmware_py.cli import main; main()"
    arguments = ["simulate", tmp_path / "long.wav", "--out", tmp_path / "out", "--loss", "0.9"]
    with subprocess.Popen([sys.executable, "-c", program, *arguments], stderr=subprocess.PIPE, text=True) as process:
        give_up = time.monotonic() + 60
        while not (tmp_path / "out").exists() and time.monotonic() < give_up:
            time.sleep(0.05)
        os.kill(process.pid, signal.SIGINT)
        _, err = process.communicate()
    assert (process.returncode, err) == (130, "continuo: interrupted\n")
    assert not (tmp_path / "out").exists()
