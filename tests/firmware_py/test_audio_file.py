import os

import numpy as np
import pytest
import soundfile

from continuo.firmware_py.audio_file import read_audio, write_audio
from continuo.firmware_py.errors import InputError, RunError


def one_line(caught, path):
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


@pytest.mark.parametrize(
    ("suffix", "subtype", "bits"),
    [
        ("wav", "PCM_U8", 8),
        ("wav", "PCM_16", 16),
        ("wav", "PCM_24", 24),
        ("flac", "PCM_S8", 8),
        ("flac", "PCM_16", 16),
        ("flac", "PCM_24", 24),
        ("aiff", "PCM_24", 24),
        ("AIF", "PCM_16", 16),
        ("wave", "PCM_24", 24),
    ],
)
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_integer_samples_come_back_to_the_bit(tmp_path, suffix, subtype, bits, channels):
    rng = np.random.default_rng(1)
    codes = rng.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (500, channels))
    codes[:2] = [[-(2 ** (bits - 1))], [2 ** (bits - 1) - 1]]
    path = tmp_path / f"in.{suffix}"
    container = {"wave": "WAV", "AIF": "AIFF"}.get(suffix, suffix.upper())
    soundfile.write(path, (codes << (32 - bits)).astype(np.int32), 44_100, subtype, format=container)

    audio = read_audio(path)
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == (500, channels) == (audio.frames, audio.channels)
    np.testing.assert_array_equal(audio.samples * 2.0 ** (bits - 1), codes)
    assert (audio.sample_rate_hz, audio.subtype, audio.format) == (44_100, subtype, container)

    out = tmp_path / f"out.{suffix}"
    write_audio(out, audio.samples, audio.sample_rate_hz, audio.subtype)
    again = read_audio(out)
    np.testing.assert_array_equal(again.samples, audio.samples)
    assert (again.subtype, again.format) == (subtype, container)


@pytest.mark.parametrize(("subtype", "tolerance"), [("PCM_32", 2**-24), ("FLOAT", 0), ("DOUBLE", 0)])
def test_wider_samples_are_rounded_to_float32(tmp_path, subtype, tolerance):
    samples = np.random.default_rng(2).uniform(-1, 1, (500, 2)).astype(np.float32)
    write_audio(tmp_path / "a.wav", samples, 96_000, subtype)
    audio = read_audio(tmp_path / "a.wav")
    np.testing.assert_allclose(audio.samples, samples, rtol=0, atol=tolerance)
    assert audio.subtype == subtype
    assert audio.duration_s == 500 / 96_000


def test_a_lossy_format_is_read_too(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(24_000) / 48_000)
    write_audio(tmp_path / "a.ogg", tone, 48_000, "VORBIS")
    audio = read_audio(tmp_path / "a.ogg")
    assert audio.format == "OGG"
    assert np.max(np.abs(audio.samples[:, 0] - tone)) < 0.05


@pytest.mark.parametrize("rate", [22_050, 32_000, 44_100, 48_000, 88_200, 96_000])
def test_every_rate_in_range_is_read(tmp_path, rate):
    write_audio(tmp_path / "a.wav", np.zeros(10), rate)
    audio = read_audio(str(tmp_path / "a.wav"))
    assert audio.sample_rate_hz == rate
    assert audio.subtype == "PCM_24"


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "PCM_32"])
def test_integer_subtypes_clip_rather_than_wrap(tmp_path, suffix, subtype):
    if not soundfile.check_format(suffix.upper(), subtype):
        pytest.skip(f"{suffix} has no {subtype}")
    path = tmp_path / f"a.{suffix}"
    write_audio(path, np.array([1.0, 1.5, 1000.0, -1.0, -1.5, -1000.0]), 44_100, subtype)
    samples = read_audio(path).samples[:, 0]
    assert np.all(samples[:3] > 0.9999)
    np.testing.assert_array_equal(samples[3:], -1.0)


def test_float_subtypes_keep_what_lies_beyond_full_scale(tmp_path):
    write_audio(tmp_path / "a.wav", np.array([1.5, -3.0]), 44_100, "FLOAT")
    assert read_audio(tmp_path / "a.wav").samples[:, 0].tolist() == [1.5, -3.0]


def make_missing(path):
    pass


def make_folder(path):
    path.mkdir()


def make_pipe(path):
    os.mkfifo(path)


def make_empty(path):
    path.write_bytes(b"")


def make_text(path):
    path.write_text("this is not audio\n" * 100)


def make_header_only(path):
    soundfile.write(path, np.zeros((0, 2)), 44_100)


def make_nine_channels(path):
    soundfile.write(path, np.zeros((10, 9)), 44_100)


def make_slow(path):
    soundfile.write(path, np.zeros(10), 16_000)


def make_fast(path):
    soundfile.write(path, np.zeros(10), 192_000)


def make_nan(path):
    samples = np.zeros((44_100, 2))
    samples[22_050, 1] = np.nan
    samples[30_000] = [np.inf, -np.inf]
    soundfile.write(path, samples, 44_100, "FLOAT")


def make_one_inf(path):
    soundfile.write(path, np.array([np.inf, 0.0]), 44_100, "FLOAT")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (make_missing, "no such file"),
        (make_folder, "is a folder"),
        (make_pipe, "not a regular file"),
        (make_empty, "is empty"),
        (make_text, "cannot be read as audio"),
        (make_header_only, "has no samples"),
        (make_nine_channels, "9 channels: give a file with 1 to 8"),
        (make_slow, "16000 Hz: give a file of 22050 to 96000 Hz"),
        (make_fast, "192000 Hz: give a file of 22050 to 96000 Hz"),
        (make_nan, "3 samples are NaN or infinite, the first at 0.500 s"),
        (make_one_inf, "1 sample is NaN or infinite, the first at 0.000 s"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, make, expected):
    path = tmp_path / "in.wav"
    make(path)
    with pytest.raises(InputError) as caught:
        read_audio(path)
    assert expected in one_line(caught, path)


def test_headerless_samples_are_refused(tmp_path):
    path = tmp_path / "in.raw"
    path.write_bytes(bytes(1000))
    with pytest.raises(InputError, match="cannot be read as audio"):
        read_audio(path)


@pytest.mark.parametrize("size", [10, 40])
def test_a_flac_cut_in_its_header_is_refused(tmp_path, size):
    whole, cut = tmp_path / "whole.flac", tmp_path / "cut.flac"
    write_audio(whole, np.random.default_rng(3).uniform(-1, 1, 20_000), 44_100)
    cut.write_bytes(whole.read_bytes()[:size])
    with pytest.raises(InputError, match="cannot be read as audio") as caught:
        read_audio(cut)
    one_line(caught, cut)


@pytest.mark.parametrize("name", ["missing/out.wav", "folder.wav"])
def test_a_place_that_cannot_be_written_is_a_run_error(tmp_path, name):
    (tmp_path / "folder.wav").mkdir()
    with pytest.raises(RunError) as caught:
        write_audio(tmp_path / name, np.zeros(10), 44_100)
    one_line(caught, tmp_path / name)


@pytest.mark.parametrize(
    ("name", "subtype", "expected"),
    [
        ("out", "PCM_24", "end the name in .wav or .flac"),
        ("out.xyz", "PCM_24", "'.xyz'"),
        ("out.flac", "FLOAT", "FLAC cannot hold FLOAT samples: choose from .*PCM_24"),
        ("out.wav", "PCM_23", "WAV cannot hold PCM_23"),
    ],
)
def test_a_format_that_does_not_exist_is_an_input_error(tmp_path, name, subtype, expected):
    with pytest.raises(InputError, match=expected) as caught:
        write_audio(tmp_path / name, np.zeros(10), 44_100, subtype)
    one_line(caught, tmp_path / name)


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "out.wav"
    write_audio(path, np.zeros(10), 44_100)
    with pytest.raises(RunError, match=r"1 sample is NaN or infinite, the first at 0\.000 s"):
        write_audio(path, np.array([np.nan, 0.0]), 44_100)
    with pytest.raises(RunError, match="cannot write"):
        write_audio(path, np.zeros((10, 2, 2)), 44_100)
    assert read_audio(path).frames == 10
    assert list(tmp_path.iterdir()) == [path]
