import itertools
import json
import time

import numpy as np
import pytest
import soundfile

from continuo.firmware_py import methods
from continuo.firmware_py.audio_file import Audio, read_audio
from continuo.firmware_py.control.timing_log import read_timing_log
from continuo.firmware_py.errors import InputError
from continuo.firmware_py.loss import read_trace
from continuo.firmware_py.methods import METHODS, build_concealer
from continuo.firmware_py.rt.concealer import Method
from continuo.firmware_py.rt.predictor import Silence
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.simulate import count_packets, simulate, write_simulation

RATES = (22_050, 44_100, 48_000, 96_000)
PACKETS = (32, 128, 512, 1000, 1024)
CHANNELS = (1, 2, 8)
PATTERNS = ("00000000", "11111111", "10000000", "00000001", "01011101")


def tones(frames, channels=1, rate=44_100, subtype="PCM_24"):
    at = np.arange(frames)[:, None] / rate
    samples = 0.3 * np.sin(2 * np.pi * 220 * (1 + np.arange(channels)) * at) + 0.1 * np.sin(2 * np.pi * 1234 * at)
    return Audio((np.round(samples * 2**15) / 2**15).astype(np.float32), rate, subtype, "WAV")  # as recorded: 16 bits


def trace(digits):
    return np.array([digit == "1" for digit in digits])


@pytest.mark.parametrize("packet", PACKETS)
@pytest.mark.parametrize(("rate", "channels"), list(itertools.product(RATES, CHANNELS)))
def test_every_format_and_loss_pattern(rate, packet, channels):
    audio = tones(8 * packet + 7, channels, rate)
    for digits in PATTERNS if channels < 8 else PATTERNS[-1:]:
        lost = trace(digits)
        result = simulate(audio, lost, "lpc", packet)
        mask = np.append(np.repeat(lost, packet), np.zeros(7, bool))
        assert result.concealed.shape == result.lossy.shape == audio.samples.shape
        assert result.concealed.dtype == np.float32
        assert np.isfinite(result.concealed).all()
        assert np.array_equal(result.lossy, np.where(mask[:, None], 0, audio.samples))
        assert result.rows["lost"].tolist() == lost.astype(int).tolist()
        assert result.rows["sequence"].tolist() == list(range(8))
        assert result.damaged_samples == 0
        after_loss = np.append(False, lost)  # the packet, or the rest, that a burst is faded into
        kept = ~(mask | np.repeat(after_loss, packet)[: len(mask)])
        assert np.array_equal(result.concealed[kept], audio.samples[kept])


@pytest.mark.parametrize("method", METHODS)
def test_twice_is_bit_identical_and_the_same_as_the_concealer(method):
    audio = tones(44_100 // 2, 2)
    lost = np.random.default_rng(1).random(count_packets(audio, 128)) < 0.3
    first, second = (simulate(audio, lost, method, 128).concealed for _ in range(2))
    assert first.tobytes() == second.tobytes()
    concealer = build_concealer(method)
    concealer.prepare(StreamSpec(44_100, 128, 2))
    packets = audio.samples[: len(lost) * 128].reshape(-1, 128, 2)
    played = [concealer.process(None if gone else packet).copy() for packet, gone in zip(packets, lost, strict=True)]
    assert np.concatenate(played).tobytes() == first[: len(lost) * 128].tobytes()


def test_steady_tones_are_carried_through_the_gaps():
    audio = tones(512 * 80)
    lost = trace("0000000000" * 2 + "0000100000" * 6)
    result = simulate(audio, lost)
    assert np.abs(result.concealed - audio.samples).max() < 0.02
    assert np.abs(result.lossy - audio.samples).max() > 0.3


def test_the_rest_after_the_last_packet_is_faded_into():
    audio = tones(512 * 20 + 300)
    result = simulate(audio, trace("0" * 19 + "1"), "zero")
    step = np.abs(np.diff(result.concealed[-310:, 0])).max()
    assert step < np.abs(np.diff(result.lossy[-310:, 0])).max() or step < 0.05
    assert result.concealed[-1, 0] != 0


def test_a_longer_trace_is_cut_and_a_shorter_one_an_error():
    audio = tones(512 * 10)
    assert len(simulate(audio, np.zeros(99, bool)).lost) == 10
    with pytest.raises(InputError, match="has 9 packets but the audio has 10"):
        simulate(audio, np.zeros(9, bool))


def test_progress_counts_every_packet():
    seen = []
    simulate(tones(512 * 5), np.zeros(5, bool), "zero", progress=seen.append)
    assert seen == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("frames", "packet", "method", "words"),
    [
        (511, 512, "lpc", "less than one packet of 512"),
        (5000, 0, "lpc", "packet_samples is 0: choose from 32 to 1024"),
        (5000, 31, "lpc", "packet_samples is 31"),
        (5000, 1025, "lpc", "packet_samples is 1025"),
        (5000, 512, "magic", "no method is called 'magic'"),
    ],
)
def test_what_cannot_be_simulated_is_an_error(frames, packet, method, words):
    with pytest.raises(InputError, match=words):
        simulate(tones(frames), np.zeros(9, bool), method, packet)


def test_a_missed_deadline_is_counted_and_changes_nothing(monkeypatch):
    class Slow(Silence):
        def predict(self, context, out):
            time.sleep(0.005)  # a packet lasts a fifteenth of that
            super().predict(context, out)

    monkeypatch.setitem(methods.METHODS, "slow", Method("slow", Slow, crossfade_ms=1000, fades=False))
    audio, lost = tones(32 * 40, rate=96_000), trace("0001" * 10)
    slow = simulate(audio, lost, "slow", 32)
    assert slow.rows["deadline_missed"][lost].all()
    assert (slow.rows["deadline_margin_ns"][lost] < 0).all()
    assert np.array_equal(slow.concealed, simulate(audio, lost, "zero", 32).concealed)


@pytest.mark.parametrize(
    ("subtype", "written", "tolerance"),
    [
        ("PCM_16", "PCM_16", 2**-15),
        ("PCM_24", "PCM_24", 2**-23),
        ("PCM_32", "PCM_32", 2**-25),
        ("FLOAT", "FLOAT", 0),
        ("DOUBLE", "DOUBLE", 0),
        ("PCM_S8", "PCM_24", 2**-23),
        ("VORBIS", "PCM_24", 2**-23),
    ],
)
def test_written_files_hold_what_was_played(tmp_path, subtype, written, tolerance):
    audio = tones(512 * 12 + 5, 2, subtype=subtype)
    result = simulate(audio, trace("010011100100"))
    write_simulation(tmp_path, result, {"nmse_db": None})
    for name, samples in (("concealed.wav", result.concealed), ("lossy.wav", result.lossy)):
        back = read_audio(tmp_path / name)
        assert (back.subtype, back.sample_rate_hz) == (written, 44_100)
        assert np.abs(back.samples - samples).max() <= tolerance
    assert np.array_equal(read_trace(tmp_path / "trace.txt"), result.lost)
    log = read_timing_log(tmp_path / "timing.log")
    assert np.array_equal(log.rows, result.rows)
    assert (log.meta.method, log.meta.packet_samples, log.dropped_rows) == ("lpc", 512, 0)
    assert np.array_equal(read_timing_log(tmp_path / "timing.csv").rows["total_ns"], result.rows["total_ns"])
    assert json.loads((tmp_path / "report.json").read_text()) == {"nmse_db": None}


def test_the_whole_way_from_flac(tmp_path):
    audio = tones(6000, 2)
    soundfile.write(tmp_path / "in.flac", audio.samples, 48_000, "PCM_16")
    read = read_audio(tmp_path / "in.flac")
    write_simulation(tmp_path, simulate(read, np.zeros(11, bool)), {})
    assert np.array_equal(read_audio(tmp_path / "concealed.wav").samples, read.samples)
