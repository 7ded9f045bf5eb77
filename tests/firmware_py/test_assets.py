import pytest

from continuo.firmware_py.assets import CLIPS, clip_path, trace_path
from continuo.firmware_py.audio_file import read_audio
from continuo.firmware_py.loss import read_trace
from continuo.firmware_py.simulate import count_packets


@pytest.mark.parametrize("name", CLIPS)
def test_every_clip_has_its_trace_and_its_licence(name):
    audio, lost = read_audio(clip_path(name)), read_trace(trace_path(name))
    assert len(lost) == count_packets(audio, 512)
    assert 0.05 < lost.mean() < 0.2
    assert not lost[0]
    assert 5 < audio.duration_s < 12
    assert f"`{name}.flac`" in clip_path(name).with_name("README.md").read_text(encoding="utf-8")


def test_they_are_small():
    assert sum(clip_path(name).stat().st_size for name in CLIPS) < 3e6
