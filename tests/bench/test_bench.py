import json
import subprocess
import sys

import numpy as np
import pytest
from numba import config

from continuo.bench.__main__ import main
from continuo.bench.measure import Times, measure

compiled = pytest.mark.skipif(config.DISABLE_JIT, reason="the bench times compiled kernels")


def test_times_are_in_milliseconds():
    assert Times.of(np.array([1_000_000, 3_000_000, 2_000_000])).p50_ms == pytest.approx(2.0)


def test_measure_takes_turns():
    calls = []
    times = measure({name: lambda name=name: calls.append(name) for name in "ab"}, 3)
    assert "".join(calls) == "ab" + "ababab"
    assert times["a"].count == 3


@compiled
def test_quick_run_writes_what_it_prints(tmp_path, capsys):
    main(["--quick", "--out", str(tmp_path / "bench")])
    figures = json.loads((tmp_path / "bench" / "bench.json").read_text())
    assert {"machine", "fit", "levinson", "prediction", "stages", "paper"} <= set(figures)
    rows = figures["fit"][0]["rows"]
    reference = rows[figures["fit"][0]["reference"]]
    assert rows["ours"]["times_faster"] == pytest.approx(reference["p50_ms"] / rows["ours"]["p50_ms"])
    assert {(s["method"], s["packet_samples"]) for s in figures["stages"]} == {
        (method, packet) for method in ("lpc-paper", "lpc", "lite-int8") for packet in (64, 512)
    }
    refined = [s for s in figures["stages"] if s["method"] == "lite-int8"]
    assert all(s["replaced"]["p50_ms"] > s["refine"]["p50_ms"] > s["predict"]["p50_ms"] / 10 for s in refined)
    assert all(s["predict"]["p50_ms"] > s["crossfade"]["p50_ms"] > 0 for s in figures["stages"])
    assert figures["network"]["reference"] == "int8, every column"
    assert all(rate > 0 for rate in figures["gmacs_per_second"].values())
    assert "Burg fit" in capsys.readouterr().out


@compiled
def test_ours_is_faster_than_plain_burg(tmp_path):
    """A ratio within one run, with most of the margin left to noisy machines."""
    main(["--quick", "--out", str(tmp_path)])
    rows = json.loads((tmp_path / "bench.json").read_text())["fit"][0]["rows"]
    assert rows["ours"]["times_faster"] > 2


def test_bad_repetitions_are_a_usage_error():
    done = subprocess.run(
        [sys.executable, "-m", "continuo.bench", "--repetitions", "0"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "give 1 or more" in done.stderr
