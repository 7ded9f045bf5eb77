import csv
import itertools
import json
import multiprocessing
import os

import numpy as np
import pytest

from continuo.firmware_py import evaluate as module
from continuo.firmware_py.audio_file import write_audio
from continuo.firmware_py.errors import InputError, RunError
from continuo.firmware_py.evaluate import Job, evaluate, find_clips, run_job, write_evaluation
from continuo.firmware_py.loss import write_trace

METRICS = ("nmse_db", "nmse_gap_db", "mel_sc")


@pytest.fixture
def folders(tmp_path):
    """Three clips of half a second and their traces."""
    clips, traces = tmp_path / "clips", tmp_path / "traces"
    clips.mkdir()
    traces.mkdir()
    at = np.arange(22_050) / 44_100
    for index, name in enumerate(("bass", "flute", "oboe")):
        write_audio(clips / f"{name}.wav", 0.3 * np.sin(2 * np.pi * 110 * 3**index * at), 44_100)
        write_trace(traces / f"{name}.txt", np.random.default_rng(index).random(43) < 0.2)
    (clips / "notes.md").touch()
    (clips / "._bass.wav").touch()
    return clips, traces


def test_clips_find_their_traces(folders):
    pairs = find_clips(*folders)
    assert [(clip.name, trace.name) for clip, trace in pairs] == [
        ("bass.wav", "bass.txt"),
        ("flute.wav", "flute.txt"),
        ("oboe.wav", "oboe.txt"),
    ]


def test_missing_traces_are_named(folders):
    clips, traces = folders
    (traces / "flute.txt").unlink()
    with pytest.raises(InputError, match=r"1 of 3 traces are missing: flute.txt;"):
        find_clips(clips, traces)
    with pytest.raises(InputError, match=r"all traces are missing: bass.txt, flute.txt, oboe.txt;"):
        find_clips(clips, clips)


def test_folders_without_clips(folders, tmp_path):
    clips, traces = folders
    with pytest.raises(InputError, match="no audio file in it"):
        find_clips(traces, traces)
    for pair in ((tmp_path / "nowhere", traces), (clips, tmp_path / "nowhere"), (clips / "bass.wav", traces)):
        with pytest.raises(InputError, match="there is no such folder"):
            find_clips(*pair)
    (clips / "bass.flac").touch()
    with pytest.raises(InputError, match=r"bass.flac, bass.wav share a name"):
        find_clips(clips, traces)


def test_summary_and_differences_by_hand(folders):
    evaluation = evaluate(find_clips(*folders), ["zero", "lpc"], metrics=METRICS, jobs=1)
    assert [(row["clip"], row["method"]) for row in evaluation.clips] == [
        (clip, method) for clip in ("bass", "flute", "oboe") for method in ("zero", "lpc")
    ]
    zero, lpc = (np.array([r["mel_sc"] for r in evaluation.clips if r["method"] == m]) for m in ("zero", "lpc"))
    summary, paired = evaluation.summary["lpc"]["mel_sc"], evaluation.paired["lpc"]["mel_sc"]
    assert summary["mean"] == pytest.approx(lpc.mean())
    assert summary["median"] == pytest.approx(np.median(lpc))
    assert paired["mean"] == pytest.approx((lpc - zero).mean())
    half = 4.30265 * (lpc - zero).std(ddof=1) / np.sqrt(3)
    assert paired["high"] - paired["low"] == pytest.approx(2 * half, rel=1e-5)
    assert list(evaluation.paired) == ["lpc"]
    row = evaluation.clips[1]
    assert row["predict_p50_us"] > 0
    assert row["lost"] == round(row["loss_rate"] * row["packets"])


def test_processes_give_the_same_figures(folders):
    pairs, seen = find_clips(*folders), []
    before = {name: os.environ.get(name) for name in module._ONE_THREAD}
    one = evaluate(pairs, ["zero", "repeat"], metrics=METRICS, jobs=1)
    two = evaluate(pairs, ["zero", "repeat"], metrics=METRICS, jobs=2, progress=lambda *at: seen.append(at))
    for method, metric in itertools.product(("zero", "repeat"), METRICS):
        assert two.summary[method][metric] == pytest.approx(one.summary[method][metric])  # BLAS sums in other orders
    assert [row["clip"] for row in one.clips] == [row["clip"] for row in two.clips]
    assert seen == [(done, 6) for done in range(7)]
    assert {name: os.environ.get(name) for name in module._ONE_THREAD} == before


def test_an_error_in_a_process_says_which_clip_and_ends_the_others(folders):
    clips, traces = folders
    (traces / "flute.txt").write_text("0101")
    with pytest.raises(InputError, match=r"^flute.wav: the trace has 4 packets but the audio has 43"):
        evaluate(find_clips(clips, traces), ["zero"], metrics=METRICS, jobs=2)
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_an_error(folders, monkeypatch):
    monkeypatch.setattr(module, "run_job", os._exit)
    monkeypatch.setattr(module, "Job", lambda *_: 1)
    with pytest.raises(RunError, match=r"a process died .* try fewer --jobs"):
        evaluate(find_clips(*folders), ["zero"], metrics=METRICS, jobs=2)


def test_ctrl_c_ends_the_processes(folders):
    def interrupt(done, _):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(find_clips(*folders), ["zero"], metrics=METRICS, jobs=2, progress=interrupt)
    assert not multiprocessing.active_children()


def test_a_short_trace_is_repeated_on_demand(folders):
    clips, traces = folders
    (traces / "bass.txt").write_text("00010")
    job = Job(clips / "bass.wav", traces / "bass.txt", "zero", 512, METRICS)
    with pytest.raises(InputError, match=r"bass.wav: .* --repeat-trace"):
        run_job(job)
    assert run_job(Job(job.clip, job.trace, "zero", 512, METRICS, repeat_trace=True))["lost"] == 8


@pytest.mark.parametrize(
    ("methods", "kind", "words"),
    [
        (["zero", "magic"], {}, "no method is called 'magic'"),
        (["zero", "zero"], {}, "named twice"),
        ([], {}, "nothing to evaluate"),
        (["zero"], {"metrics": ["beauty"]}, "no metric 'beauty'"),
        (["zero"], {"metrics": []}, "nothing to evaluate"),
        (["zero"], {"jobs": 0}, "0 processes"),
        (["zero"], {"jobs": 1, "packet_samples": 5}, "packet_samples is 5"),
    ],
)
def test_bad_requests(folders, methods, kind, words):
    with pytest.raises(InputError, match=words):
        evaluate(find_clips(*folders), methods, **{"metrics": METRICS, **kind})


def test_results_as_files(folders, tmp_path):
    evaluation = evaluate(find_clips(*folders)[:1], ["zero", "repeat"], metrics=METRICS, jobs=1)
    write_evaluation(tmp_path, evaluation, {"packet_samples": 512})
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["packet_samples"] == 512
    assert results["summary"]["zero"]["nmse_gap_db"] == {
        "count": 1, "mean": 0.0, "median": 0.0, "low": None, "high": None
    }  # fmt: skip
    assert set(results["paired"]) == {"repeat"}
    with (tmp_path / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == ["zero", "repeat"]
    assert float(rows[1]["mel_sc"]) == evaluation.clips[1]["mel_sc"]
