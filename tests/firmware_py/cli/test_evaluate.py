import json

import numpy as np
import pytest

from continuo.firmware_py.audio_file import write_audio
from continuo.firmware_py.cli import evaluate as cli_evaluate
from continuo.firmware_py.loss import write_trace


@pytest.fixture
def folders(tmp_path):
    clips, traces = tmp_path / "clips", tmp_path / "traces"
    clips.mkdir()
    traces.mkdir()
    at = np.arange(22_050) / 44_100
    for index, name in enumerate(("bass", "flute")):
        write_audio(clips / f"{name}.flac", 0.3 * np.sin(2 * np.pi * 110 * 3**index * at), 44_100)
        write_trace(traces / f"{name}.txt", np.random.default_rng(index).random(43) < 0.2)
    return clips, traces


@pytest.fixture
def call(continuo, folders):
    def evaluate(*options, methods="zero,lpc", metrics="mel_sc,nmse_gap_db"):
        clips, traces = folders
        options = ("--metrics", metrics, "--jobs", 1, *options)
        return continuo("evaluate", clips, "--traces", traces, "--methods", methods, *options)

    return evaluate


def test_tables(call):
    code, out, err = call()
    assert (code, err) == (0, "")
    for words in (
        "Per clip",
        "bass",
        "Over 2 clips",
        "median",
        "95 %",
        "minus zero, paired",
        "mel spectral convergence",
    ):
        assert words in out


def test_json_and_nothing_else_on_stdout(call):
    code, out, err = call("--json")
    results = json.loads(out)
    assert (code, err) == (0, "")
    assert set(results["summary"]) == {"zero", "lpc"}
    assert results["summary"]["zero"]["nmse_gap_db"]["mean"] == 0.0
    assert len(results["clips"]) == 4
    assert results["compared_with"] == "zero"


def test_out(call, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, _ = call("--out", tmp_path / "results")
    assert code == 0
    assert {file.name for file in (tmp_path / "results").iterdir()} == {"results.json", "results.csv", "metrics.png"}
    assert str(tmp_path / "results") in out


def test_one_method_alone(call):
    code, out, _ = call(methods="repeat")
    assert code == 0
    assert "paired" not in out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": "zero,magic"}, "no method is called 'magic'"),
        ({"methods": ","}, "nothing to evaluate"),
        ({"metrics": "beauty"}, "no metric 'beauty'"),
    ],
)
def test_bad_requests(call, tmp_path, change, words):
    code, out, err = call("--out", tmp_path / "out", **change)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert words in err
    assert not (tmp_path / "out").exists()


def test_missing_trace(call, folders):
    (folders[1] / "bass.txt").unlink()
    code, _, err = call()
    assert (code, err.count("\n")) == (2, 1)
    assert "bass.txt" in err


def test_a_broken_clip_ends_it_all_with_nothing_written(call, folders, tmp_path):
    (folders[0] / "flute.flac").write_text("not music")
    code, out, err = call("--out", tmp_path / "out")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "flute.flac" in err
    assert not (tmp_path / "out").exists()


def test_unwritable_output(call, tmp_path):
    (tmp_path / "file").touch()
    code, _, err = call("--out", tmp_path / "file")
    assert (code, err.count("\n")) == (4, 1)


def test_default_metrics_are_those_installed(continuo, folders, monkeypatch):
    monkeypatch.setattr(cli_evaluate, "installed_metrics", lambda: ("mel_sc",))
    clips, traces = folders
    code, out, err = continuo("evaluate", clips, "--traces", traces, "--methods", "zero", "--jobs", 1, "--json")
    assert (code, list(json.loads(out)["summary"]["zero"])) == (0, ["mel_sc"])
    assert err == "continuo: no visqol: it is not installed; pip install 'continuo-nmp[eval]'\n"
