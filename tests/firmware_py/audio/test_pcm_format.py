import tracemalloc

import numpy as np
import pytest
from numba import config

from continuo.firmware_py.audio.pcm_format import FORMATS, PcmCodec

BY_NAME = {item.name: item for item in FORMATS}


def integers(pcm_format, data):
    """The integers in bytes, by plain arithmetic."""
    words = np.frombuffer(data, np.uint8).reshape(-1, pcm_format.bytes_per_sample).astype(np.int64)
    values = sum(words[:, place] << 8 * place for place in range(pcm_format.bits // 8))
    return np.where(values >> pcm_format.bits - 1, values - (1 << pcm_format.bits), values)


def encoded(pcm_format, samples):
    samples = np.asarray(samples, np.float32).reshape(len(samples), -1)
    codec = PcmCodec(pcm_format, *samples.shape)
    data = codec.new_buffer()
    codec.encode(samples, data)
    return codec, data


@pytest.mark.parametrize("pcm_format", FORMATS, ids=lambda item: item.name)
def test_known_samples(pcm_format):
    top = 1 << pcm_format.bits - 1
    samples = [0.0, 0.5, -0.5, 1.0, -1.0, 2.0, -2.0, 2.0**-15, -(2.0**-15), np.nan, np.inf, -np.inf]
    expected = [0, top // 2, -top // 2, top - 1, -top, top - 1, -top, top >> 15, -(top >> 15), 0, top - 1, -top]
    _, data = encoded(pcm_format, samples)
    assert integers(pcm_format, data.tobytes()).tolist() == expected


@pytest.mark.parametrize("pcm_format", FORMATS, ids=lambda item: item.name)
@pytest.mark.parametrize(("period_samples", "channels"), [(16, 1), (128, 2), (65, 8)])
def test_round_trip(pcm_format, period_samples, channels):
    """Rounded to the nearest integer, and exact on the way back up to float32's 24 bits."""
    rng = np.random.default_rng(pcm_format.bits)
    top = 1 << pcm_format.bits - 1
    samples = rng.uniform(-1.2, 1.2, (period_samples, channels)).astype(np.float32)
    codec, data = encoded(pcm_format, samples)
    expected = np.clip(np.rint(samples.astype(np.float64) * top), -top, top - 1)
    assert np.array_equal(integers(pcm_format, data.tobytes()), expected.ravel())
    out = np.full_like(samples, 9)
    codec.decode(data.tobytes(), out)
    np.testing.assert_array_equal(out, (expected / top).astype(np.float32))


def test_the_unused_byte_of_s24_is_not_looked_at():
    codec = PcmCodec(BY_NAME["S24_LE"], 16, 1)
    words = np.array([0x00_400000, 0x7F_400000, 0x00_C00000, -1, 0x00_FFFFFF, *[0] * 11], "<i4")
    out = np.zeros((16, 1), np.float32)
    codec.decode(words.tobytes(), out)
    assert out[:5, 0].tolist() == [0.5, 0.5, -0.5, -(2.0**-23), -(2.0**-23)]


@pytest.mark.parametrize("pcm_format", FORMATS, ids=lambda item: item.name)
def test_no_allocation(pcm_format):
    frames = 16 if config.DISABLE_JIT else 1024
    codec = PcmCodec(pcm_format, frames, 2)
    samples, data = np.zeros((frames, 2), np.float32), codec.new_buffer()
    captured = data.tobytes()

    def work():
        codec.encode(samples, data)
        codec.decode(captured, samples)

    work()
    tracemalloc.start()
    work()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(50):
        work()
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < 512
    assert peak - before < 1024  # views of arrays, no samples
