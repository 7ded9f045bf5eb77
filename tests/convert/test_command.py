"""``continuo convert`` as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from continuo.convert.accuracy import BARS, Comparison, missed_bars
from continuo.convert.flatbuffer import FORMATS
from continuo.firmware_py.rt.refiner_tflite import TfliteRefiner
from continuo.models.bin2bin.refiner import Refiner
from continuo.models.bin2bin.runtime import save_weights

BUNDLED = Path(__file__).parents[2] / "firmware_py" / "assets"


def run(*args: object) -> "subprocess.CompletedProcess[str]":
    continuo = Path(sys.executable).with_name("continuo")
    return subprocess.run([continuo, "convert", *map(str, args)], capture_output=True, text=True, check=False)


def test_smoke_with_everything(weights: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run(
        weights, "--smoke", "--out", out, "--report", "--budget", "pi5", "--tune", 2,
        "--clips", BUNDLED, "--traces", BUNDLED,
    )  # fmt: skip
    assert done.returncode in {0, 4}, done.stderr  # 4: weights at random need not meet the bars
    report = json.loads((out / "report.json").read_text())
    assert bool(report["missed"]) == (done.returncode == 4)
    assert set(report["output_sqnr_db"]) == set(FORMATS)
    assert [c["name"] for c in report["clips"]] == ["sax_phrase", "violin_andante"]
    assert {s["name"] for s in report["signals"]} >= {"silence", "clicks", "noise"}
    assert (out / "report.html").read_text().count("<table>") > 4
    assert {f"small-{kind}.tflite" for kind in FORMATS} <= {p.name for p in out.iterdir()}
    assert "tuned:" in done.stdout
    assert "predicted" in done.stdout
    TfliteRefiner(out / "small-int8.tflite")


def test_the_same_weights_give_the_same_file(weights: Path, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        done = run(weights, "--smoke", "--out", tmp_path / folder)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "a/small-int8.tflite").read_bytes() == (tmp_path / "b/small-int8.tflite").read_bytes()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["nonsense"], "does not exist"),
        (["WEIGHTS"], "--data"),
        (["WEIGHTS", "--data", "/nowhere"], "no folder"),
        (["WEIGHTS", "--smoke", "--budget", "pi6"], "choose from"),
        (["WEIGHTS", "--smoke", "--clips", "."], "belong together"),
        (["WEIGHTS", "--smoke", "--clips", ".", "--traces", "."], "--report"),
        (["WEIGHTS", "--smoke", "--report", "--clips", "/nowhere", "--traces", "."], "no such folder"),
        (["pyproject.npz"], "does not exist"),
    ],
)
def test_bad_input(args: list[str], words: str, weights: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.delenv("CONTINUO_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    done = run(*(str(weights) if a == "WEIGHTS" else a for a in args))
    assert done.returncode == 2, done.stdout
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "converted").exists() or not any((tmp_path / "converted").rglob("*.tflite"))


@pytest.mark.parametrize("card", [{}, {"experiment": {"method": "magic"}}])
def test_weights_that_do_not_say_their_predictor_are_refused(card, ours: Refiner, tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    save_weights(ours, path, card)
    done = run(path, "--smoke", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "names no method" in done.stderr


def test_a_network_that_does_nothing_is_refused(ours: Refiner, tmp_path: Path) -> None:
    torch.nn.init.zeros_(ours.generator.last.weight)
    torch.nn.init.zeros_(ours.generator.last.bias)
    save_weights(ours, tmp_path / "w.npz", {"experiment": {"method": "lpc"}})
    done = run(tmp_path / "w.npz", "--smoke", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "nothing but zeros" in done.stderr


def compared(change: float) -> Comparison:
    before = {"nmse_gap_db": -4.0, "mel_sc": 0.13, "visqol": 4.6}
    after = {"nmse_gap_db": -4.0 + change, "mel_sc": 0.13 * (1 + change), "visqol": 4.6 - change}
    return Comparison("clip", before, after, 30.0, None)  # type: ignore[arg-type]


def test_bars_pass_and_fail() -> None:
    assert missed_bars(BARS["output_db"], [compared(0.005)]) == []
    assert missed_bars(BARS["output_db"], [compared(-1.0)]) == []
    assert len(missed_bars(BARS["output_db"] - 0.1, [compared(0.1)])) == 4
    assert len(missed_bars(np.inf, [compared(np.nan)])) == 3
