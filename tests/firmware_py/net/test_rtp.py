import struct

import numpy as np
import pytest

from continuo.firmware_py.net.counters import DropError, NetCounter
from continuo.firmware_py.net.rtp import pack_header, parse_header
from continuo.firmware_py.net.wire import Heard
from continuo.firmware_py.rt.spec import StreamSpec


def rtp(payload_type, sequence, timestamp, ssrc, payload):
    return struct.pack("!BBHII", 0x80, payload_type, sequence, timestamp, ssrc) + payload


def test_header_bytes():
    """The picture of RFC 3550 section 5.1."""
    out = bytearray(12)
    pack_header(out, 96, 0x1_1234, 0x1_89ABCDEF, 0xDEADBEEF)
    assert out.hex(" ", 4) == "80601234 89abcdef deadbeef"
    header = parse_header(out)
    assert header == (96, 0x1234, 0x89ABCDEF, 0xDEADBEEF, 12, 12)


def test_contributors_extension_and_padding_are_passed_by():
    datagram = bytes.fromhex("b2e00001 00000002 00000003 aaaaaaaa bbbbbbbb 10000001 cccccccc 0102 000002")
    header = parse_header(datagram)
    assert datagram[header.payload_start : header.payload_stop] == bytes.fromhex("0102 00")
    assert header.payload_type == 96


@pytest.mark.parametrize(
    "datagram",
    [
        "",
        "80600001 00000002 000000",  # short
        "40600001 00000002 00000003",  # version 1
        "8f600001 00000002 00000003 00000000",  # 15 contributors, one there
        "90600001 00000002 00000003 0000",  # half an extension
        "90600001 00000002 00000003 00000002 00000000",  # an extension longer than the datagram
        "a0600001 00000002 00000003 00",  # padding of no bytes
        "a0600001 00000002 00000003 000004",  # more padding than payload
    ],
)
def test_malformed(datagram):
    with pytest.raises(DropError) as error:
        parse_header(bytes.fromhex(datagram))
    assert error.value.cause == NetCounter.MALFORMED


def test_l16_on_the_wire(side):
    spec = StreamSpec(48_000, 32, 1)
    samples = np.linspace(-1, 1, 32, endpoint=False, dtype=np.float32)[:, None]
    datagram = bytes(side(spec, insecure=True).wire.encode(5, samples))
    assert datagram[0] == 0x80
    assert datagram[1] == 96
    assert datagram[12:] == (samples[:, 0] * 32_768).astype(">i2").tobytes()


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize(("packet_samples", "channels"), [(32, 1), (128, 2), (1024, 8)])
def test_round_trip(side, noise, bits, packet_samples, channels):
    spec = StreamSpec(44_100, packet_samples, channels)
    sender, receiver = (side(spec, insecure=True, bits=bits) for _ in range(2))
    packets = noise(50, packet_samples, channels, bits)
    for number, samples in enumerate(packets):
        assert receiver.hear(sender.wire.encode(number, samples), number) == Heard.AUDIO
    assert receiver.got.numbers == list(range(receiver.got[0][0], receiver.got[0][0] + 50))
    assert [packet[1] for packet in receiver.got] == list(range(50))
    np.testing.assert_array_equal([packet[2] for packet in receiver.got], packets)
    assert receiver.counts == {"RECEIVED": 50}


def test_timestamps_and_sequence_follow_the_packet_number(side, noise):
    wire = side(insecure=True).wire
    samples = noise(1)[0]
    heads = [parse_header(bytes(wire.encode(number, samples))) for number in (1000, 1001, 1005)]
    for head, age in zip(heads, (0, 1, 5), strict=True):
        assert (head.sequence - heads[0].sequence) & 0xFFFF == age
        assert (head.timestamp - heads[0].timestamp) & 0xFFFFFFFF == 64 * age


@pytest.mark.parametrize("number", [1, 40_000])
def test_numbers_that_go_back_or_far_ahead_begin_another_stream(side, noise, number):
    wire = side(insecure=True).wire
    before = parse_header(bytes(wire.encode(1000, noise(1)[0])))
    after = parse_header(bytes(wire.encode(number, noise(1)[0])))
    assert after.ssrc != before.ssrc
    assert after.ssrc == wire.ssrc


def test_another_sender_is_foreign_until_the_peer_is_silent(side, noise):
    peer, other, receiver = side(insecure=True), side(insecure=True), side(insecure=True)
    samples = noise(1)[0]
    receiver.hear(peer.wire.encode(0, samples), 0)
    assert receiver.hear(other.wire.encode(0, samples), 10**6) == Heard.NOTHING
    assert receiver.count("FOREIGN_SSRC", "RECEIVED") == (1, 1)
    receiver.wire.interrupt()
    assert receiver.hear(other.wire.encode(1, samples), 15 * StreamSpec(48_000, 64).packet_ns) == Heard.AUDIO
    assert receiver.count("RESTARTS") == (1,)
    assert receiver.got.numbers[1] - receiver.got.numbers[0] == 15
    assert receiver.hear(peer.wire.encode(1, samples), 10**9) == Heard.NOTHING


def test_our_own_packets_come_back_to_nothing(side, noise):
    one = side(insecure=True)
    assert one.hear(one.wire.encode(0, noise(1)[0])) == Heard.NOTHING
    assert one.counts == {"FOREIGN_SSRC": 1}


@pytest.mark.parametrize(
    ("payload_type", "payload_bytes", "cause"),
    [(97 + 1, 256, "FOREIGN_PAYLOAD_TYPE"), (0, 256, "FOREIGN_PAYLOAD_TYPE"), (96, 255, "WRONG_SIZE"),
     (96, 0, "WRONG_SIZE"), (96, 512, "WRONG_SIZE")],
)  # fmt: skip
def test_what_is_not_our_format_is_counted(side, payload_type, payload_bytes, cause):
    receiver = side(insecure=True)
    assert receiver.hear(rtp(payload_type, 1, 1, 1, bytes(payload_bytes))) == Heard.NOTHING
    assert receiver.counts == {cause: 1}
    assert not receiver.got


def test_the_size_that_the_peer_sends_is_told(side, noise):
    receiver = side(insecure=True)
    receiver.hear(side(StreamSpec(48_000, 128, 2), insecure=True).wire.encode(0, noise(1, 128)[0]))
    assert receiver.count("PEER_PACKET_SAMPLES", "WRONG_SIZE") == (128, 1)
