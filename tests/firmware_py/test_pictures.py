import sys

import numpy as np
import pytest

from continuo.firmware_py.audio_file import Audio
from continuo.firmware_py.errors import InputError, MissingError, RunError
from continuo.firmware_py.pictures import (
    save_method_picture,
    save_spectrogram_picture,
    save_waveform_picture,
    worst_bursts,
)
from continuo.firmware_py.simulate import simulate

SIMULATION_PICTURES = (save_waveform_picture, save_spectrogram_picture)


def run(lost, channels=2, rate=44_100, packet=512, frames=None):
    noise = np.random.default_rng(0).normal(0, 0.1, (frames or len(lost) * packet, channels)).astype(np.float32)
    noise[:, 1:] *= 0.01
    return simulate(Audio(noise, rate, "PCM_16", "WAV"), np.array(lost, bool), "zero", packet)


def size_of_png(path):
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


def test_worst_bursts_come_first():
    bursts = worst_bursts(run([0, 1, 0, 1, 1, 1, 0, 1, 1, 0]), 2)
    assert [(b.start // 512, b.stop // 512, b.channel) for b in bursts] == [(3, 6, 0), (7, 9, 0)]
    assert bursts[0].error_db == pytest.approx(0.0)
    assert worst_bursts(run([0, 0]), 3) == []


@pytest.mark.parametrize("save", SIMULATION_PICTURES)
@pytest.mark.parametrize(
    ("lost", "kind"),
    [
        ([1] * 12, {}),
        ([1] + [0] * 20, {}),
        ([0] * 20 + [1], {}),
        ([1], {"packet": 32, "rate": 96_000, "channels": 1}),
        ([0, 1] * 30 + [1] * 200, {"packet": 1000, "rate": 22_050}),
        ([0, 1, 0], {"frames": 512 * 3 + 40, "channels": 8}),
    ],
    ids=["all lost", "first lost", "last lost", "one tiny packet", "long", "short clip with a rest"],
)
def test_any_loss_can_be_drawn(save, lost, kind, tmp_path):
    pytest.importorskip("matplotlib")
    save(run(lost, **kind), tmp_path / "new" / "picture.png")
    width, height = size_of_png(tmp_path / "new" / "picture.png")
    assert width > height > 400


@pytest.mark.parametrize("save", SIMULATION_PICTURES)
def test_what_stops_a_picture(save, tmp_path, monkeypatch):
    result = run([0, 1, 0])
    with pytest.raises(InputError, match="nothing was lost"):
        save(run([0, 0]), tmp_path / "p.png")
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot write"):
        save(result, tmp_path / "file" / "p.png")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingError, match=r"continuo-nmp\[eval\]"):
        save(result, tmp_path / "p.png")


@pytest.mark.parametrize("metrics", [["visqol"], ["nmse_db", "mel_sc", "lsd_db", "visqol"]])
def test_methods_compared(metrics, tmp_path):
    pytest.importorskip("matplotlib")
    clips = [
        {"clip": clip, "method": method, **dict.fromkeys(metrics, None if clip == "b" else 1.0 + len(method))}
        for clip in "abc"
        for method in ("zero", "lpc", "silent")
    ]
    cell = {"mean": 2.0, "low": 1.0, "high": 3.0}
    alone, nothing = {"mean": 2.0, "low": None, "high": None}, dict.fromkeys(("mean", "low", "high"))
    cells = {"zero": cell, "lpc": alone, "silent": nothing}
    summary = {method: dict.fromkeys(metrics, cell) for method, cell in cells.items()}
    save_method_picture(clips, summary, tmp_path / "p.png")
    assert min(size_of_png(tmp_path / "p.png")) > 300
