import tracemalloc

import numpy as np
import pytest

from continuo.firmware_py.errors import InputError
from continuo.firmware_py.net.samples import SampleCodec

RTP, JACKTRIP = (0, 1, 2), (1, 0, 2)
LAYOUTS = [(order, planar) for order in (RTP, JACKTRIP) for planar in (False, True)]


def packed(codec, samples):
    payload = np.zeros(codec.packet_bytes, np.uint8)
    codec.pack(np.asarray(samples, np.float32), payload)
    return payload


def test_bytes_of_known_samples():
    """Full scale, silence, one step either way: two's complement, big end first (RFC 3551, RFC 3190)."""
    samples = [[0.0, -1.0], [0.5, 1.0], [2.0**-15, -(2.0**-15)]]
    expected = "0000 8000 4000 7fff 0001 ffff"
    assert packed(SampleCodec(16, 3, 2, order=RTP, planar=False), samples).tobytes() == bytes.fromhex(expected)
    expected = "000000 800000 400000 7fffff 000100 ffff00"
    assert packed(SampleCodec(24, 3, 2, order=RTP, planar=False), samples).tobytes() == bytes.fromhex(expected)


def test_planar_little_endian_bytes():
    """As JackTrip has it: channel after channel; 24 bits are the middle byte, the high one and the low one."""
    samples = [[0.5, -1.0], [2.0**-15, 1.0]]
    expected = "0040 0100 0080 ff7f"
    assert packed(SampleCodec(16, 2, 2, order=JACKTRIP, planar=True), samples).tobytes() == bytes.fromhex(expected)
    samples = [[0x123456 / 2**23, -1.0], [-1 / 2**23, 1.0]]
    expected = "341256 ffffff 008000 ff7fff"
    assert packed(SampleCodec(24, 2, 2, order=JACKTRIP, planar=True), samples).tobytes() == bytes.fromhex(expected)


@pytest.mark.parametrize(("order", "planar"), LAYOUTS)
@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize(("packet_samples", "channels"), [(32, 1), (128, 2), (513, 8)])
def test_every_integer_survives(bits, order, planar, packet_samples, channels):
    codec = SampleCodec(bits, packet_samples, channels, order=order, planar=planar)
    rng = np.random.default_rng(bits)
    top = 1 << bits - 1
    for _ in range(20):
        samples = (rng.integers(-top, top, (packet_samples, channels)) / top).astype(np.float32)
        np.testing.assert_array_equal(codec.unpack(packed(codec, samples)), samples)


@pytest.mark.parametrize("bits", [16, 24])
def test_rounding_and_clipping(bits):
    codec = SampleCodec(bits, 256, 2, order=RTP, planar=False)
    top = 1 << bits - 1
    rng = np.random.default_rng(1)
    for scale in (0.1, 1.0, 3.0, 1e30):
        samples = (scale * rng.normal(size=(256, 2))).astype(np.float32)
        expected = np.clip(np.rint(samples.astype(np.float64) * top), -top, top - 1) / top
        np.testing.assert_array_equal(codec.unpack(packed(codec, samples)), expected.astype(np.float32))


@pytest.mark.parametrize("bits", [16, 24])
def test_what_is_no_number_is_silent_and_infinity_is_full_scale(bits):
    codec = SampleCodec(bits, 4, 1, order=RTP, planar=False)
    decoded = codec.unpack(packed(codec, [[np.nan], [np.inf], [-np.inf], [0.25]]))
    top = 1 << bits - 1
    assert decoded[:, 0].tolist() == [0.0, (top - 1) / top, -1.0, 0.25]


def test_no_allocation_once_made():
    codec = SampleCodec(24, 512, 2, order=RTP, planar=False)
    samples, payload = np.zeros((512, 2), np.float32), np.zeros(codec.packet_bytes, np.uint8)

    def work():
        codec.pack(samples, payload)
        codec.unpack(payload)

    work()
    tracemalloc.start()
    work()
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(50):
        work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak - before < 512 * 4  # views and masks, but no packet of float32


def test_other_depths_are_refused():
    with pytest.raises(InputError, match="choose 16 or 24"):
        SampleCodec(8, 64, 1, order=RTP, planar=False)
