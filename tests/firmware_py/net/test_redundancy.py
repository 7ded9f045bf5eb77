import numpy as np
import pytest

from continuo.firmware_py.net.counters import DropError
from continuo.firmware_py.net.redundancy import block_samples, parse_redundant, redundant_headers
from continuo.firmware_py.net.rtp import parse_header
from continuo.firmware_py.rt.spec import StreamSpec


def test_header_bytes():
    """RFC 2198 section 3: F, 7 bits of type, 14 of offset, 10 of length; the primary one has its type alone."""
    assert redundant_headers(96, 1, 64, 4).hex() == "e0" + f"{64 << 10 | 256:06x}" + "60"


def test_packets_too_long_for_a_block_go_in_several():
    assert block_samples(64, 4) == [64]
    assert block_samples(512, 2) == [256, 256]
    for frame_bytes in (2, 3, 4, 6, 24):
        for packet_samples in (32, 500, 1024):
            cut = block_samples(packet_samples, frame_bytes)
            assert sum(cut) == packet_samples
            assert max(cut) * frame_bytes <= 1023


@pytest.mark.parametrize("payload", ["", "e0", "e0000001", "e000000160", "e000000260ff"])
def test_headers_that_contradict_the_length(payload):
    with pytest.raises(DropError):
        parse_redundant(bytes.fromhex(payload))


@pytest.mark.parametrize(
    ("packet_samples", "channels", "bits"), [(64, 2, 16), (512, 1, 16), (512, 2, 24), (1024, 2, 24)]
)
@pytest.mark.parametrize("redundancy", [1, 3])
def test_losses_no_longer_than_the_redundancy_are_recovered(side, noise, packet_samples, channels, bits, redundancy):
    spec = StreamSpec(48_000, packet_samples, channels)
    sender, receiver = (side(spec, insecure=True, bits=bits, redundancy=redundancy) for _ in range(2))
    packets = noise(60, packet_samples, channels, bits)
    lost = {number for number in range(5, 60) if number % 7 < redundancy}
    for number, samples in enumerate(packets):
        datagram = sender.wire.encode(number, samples)
        if number not in lost:
            receiver.hear(datagram, number)
    first = receiver.got[0][0]
    assert receiver.got.numbers == list(range(first, first + receiver.got[-1][0] - first + 1))
    for number, arrival_ns, samples, recovered in receiver.got:
        assert recovered == (number - first in lost)
        assert (arrival_ns == number - first) != recovered
        np.testing.assert_array_equal(samples, packets[number - first])
    assert receiver.count("RECOVERED")[0] == sum(recovered for *_, recovered in receiver.got)
    assert receiver.count("LOST_BY_US") == receiver.count("RECOVERED")


def test_no_more_copies_than_a_datagram_holds(side, noise):
    """8 channels of 24 bits and 1024 samples are 24,576 bytes: two of them fit 65,507."""
    sender = side(StreamSpec(48_000, 1024, 8), insecure=True, bits=24, redundancy=3)
    sizes = [len(sender.wire.encode(number, samples)) for number, samples in enumerate(noise(4, 1024, 8))]
    assert sizes[0] == 12 + 24_576
    assert sizes[1] == sizes[3] == 12 + 1 + 4 * 25 + 2 * 24_576


def test_a_late_original_still_comes(side, noise):
    """What plays has to know that it was late, not lost."""
    sender, receiver = (side(insecure=True, redundancy=1) for _ in range(2))
    datagrams = [bytes(sender.wire.encode(number, samples)) for number, samples in enumerate(noise(3))]
    for index in (0, 2, 1):
        receiver.hear(datagrams[index])
    first = receiver.got[0][0]
    assert [(number - first, recovered) for number, _, _, recovered in receiver.got] == [
        (0, False), (1, True), (2, False), (1, False)]  # fmt: skip
    assert receiver.count("LOST_BY_US") == (0,)


def test_a_gap_in_our_own_numbers_carries_no_wrong_copies(side, noise):
    wire = side(insecure=True, redundancy=2).wire
    types = [parse_header(bytes(wire.encode(number, noise(1)[0]))).payload_type for number in (0, 1, 2, 9, 10)]
    assert types == [96, 97, 97, 96, 97]


def test_copies_in_another_encoding_are_passed_by(side):
    receiver = side(insecure=True)
    primary = bytes(range(256))
    payload = bytes.fromhex("80") + (64 << 10 | 64).to_bytes(3, "big") + b"\x60" + bytes(64) + primary
    receiver.hear(bytes.fromhex("80610005 00000000 00000001") + payload)
    assert receiver.counts == {"RECEIVED": 1}


@pytest.mark.parametrize("offset", [0, 1, 63, 65, 16_383])
@pytest.mark.parametrize("length", [0, 1, 256, 300])
def test_blocks_that_fit_no_packet_are_passed_by(side, offset, length):
    receiver = side(insecure=True)
    payload = b"\xe0" + (offset << 10 | length).to_bytes(3, "big") + b"\x60" + bytes(length) + bytes(256)
    receiver.hear(bytes.fromhex("80610005 00000000 00000001") + payload)
    assert receiver.counts == {"RECEIVED": 1}
