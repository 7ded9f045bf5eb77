import json

import numpy as np
import pytest

from continuo.firmware_py.audio_file import Audio
from continuo.firmware_py.errors import InputError
from continuo.firmware_py.metrics import METRICS, nmse_gap_db
from continuo.firmware_py.report import build_report
from continuo.firmware_py.simulate import simulate

FAST = ("nmse_db", "nmse_gap_db", "mel_sc", "lsd_db", "lsd_gap_db")


def run(lost, channels=2):
    at = np.arange(len(lost) * 512)[:, None] / 44_100
    samples = 0.3 * np.sin(2 * np.pi * 330 * (1 + np.arange(channels)) * at)
    return simulate(Audio(samples.astype(np.float32), 44_100, "PCM_16", "WAV"), np.array(lost, bool))


def test_all_that_others_rely_on_is_there():
    result = run([0] * 9 + [1, 1] + [0] * 9)
    report = build_report(result, input_name="tone.wav", loss="trace.txt", metrics=FAST)
    assert report["packets"], report["lost"] == (20, 2)
    assert (report["loss_rate"], report["longest_burst"], report["damaged_samples"]) == (0.1, 2, 0)
    assert report["rungs"] == {"received": 18, "fade": 0, "repeat": 0, "lpc": 2, "lite": 0, "full": 0}
    assert (report["method"], report["packet_samples"], report["sample_rate_hz"]) == ("lpc", 512, 44_100)
    assert (report["channels"], report["input"], report["loss"]) == (2, "tone.wav", "trace.txt")
    assert isinstance(report["deadline_misses"], int)
    assert {"p50", "p99", "max"} <= set(report["predict_us"])
    assert report["crossfade_us"]["count"] == report["total_us"]["count"] == 20
    expected = nmse_gap_db(result.audio.samples, result.concealed, result.lost, 512)
    assert report["nmse_gap_db"] == pytest.approx(expected)
    assert report["lossy"]["nmse_gap_db"] == 0.0
    assert set(report["lossy"]) == set(METRICS)
    assert report["visqol"] is None
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("lost", [[0] * 10, [1] * 10], ids=["nothing lost", "all lost"])
def test_extremes_are_json_too(lost):
    report = build_report(run(lost), input_name="x", loss="y", metrics=FAST)
    assert report["loss_rate"] == lost[0]
    assert report["nmse_db"] == (0.0 if lost[0] else None)
    assert report["longest_burst"] == sum(lost)
    json.dumps(report, allow_nan=False)


def test_an_unknown_metric_is_an_error():
    with pytest.raises(InputError, match="no metric 'loudness'"):
        build_report(run([0, 1]), input_name="x", loss="y", metrics=["loudness"])
