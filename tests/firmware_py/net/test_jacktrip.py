import struct

import numpy as np
import pytest

from continuo.firmware_py.errors import InputError
from continuo.firmware_py.net.counters import DropError
from continuo.firmware_py.net.jacktrip import (
    EXIT_PACKET,
    JackTripHeader,
    hub_greeting,
    hub_port,
    pack_header,
    parse_header,
)
from continuo.firmware_py.net.wire import Heard
from continuo.firmware_py.rt.spec import StreamSpec

OPTIONS = {"wire": "jacktrip-p2p", "insecure": True}
HEADER = JackTripHeader(0x0102030405060708, 0xABCD, 128, 48_000, 16, 2, 2)
HEADER_HEX = "0807060504030201 cdab 8000 03 10 02 00"


def test_header_bytes():
    out = bytearray(20)
    pack_header(out, 4, HEADER)
    assert out == bytes(4) + bytes.fromhex(HEADER_HEX)
    assert parse_header(out, 4) == HEADER


def test_channels_of_a_header():
    """0: as many as are wanted; 255: none."""
    channels = [parse_header(bytes.fromhex(HEADER_HEX[:-2] + last)).channels for last in ("00", "01", "ff")]
    assert channels == [2, 1, 0]


@pytest.mark.parametrize(
    "header", ["", "0807060504030201 cdab 8000 07 10 02 00", "0807060504030201 cdab 8000 03 0f 02 00"]
)
def test_malformed_header(header):
    with pytest.raises(DropError):
        parse_header(bytes.fromhex(header))


@pytest.mark.parametrize(("bits", "size"), [(16, 272), (24, 400)])
def test_sizes(side, noise, bits, size):
    """Mono, 128 samples: what JackTrip 1.7.0 sends."""
    wire = side(StreamSpec(48_000, 128, 1), bits=bits, **OPTIONS).wire
    assert len(wire.encode(0, noise(1, 128, 1)[0])) == size


def test_l16_on_the_wire(side, noise):
    samples = noise(1, 128, 2)[0]
    datagram = bytes(side(StreamSpec(48_000, 128, 2), **OPTIONS).wire.encode(3, samples))
    assert datagram[8:16].hex() == "0000800003100200"
    assert datagram[16:] == (samples.T * 32_768).astype("<i2").tobytes()


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("redundancy", [0, 2])
@pytest.mark.parametrize("rate_hz", [44_100, 96_000])
def test_round_trip_with_losses(side, noise, bits, redundancy, rate_hz):
    spec = StreamSpec(rate_hz, 64, 2)
    sender, receiver = (side(spec, bits=bits, redundancy=redundancy, **OPTIONS) for _ in range(2))
    packets = noise(70_000 if (rate_hz, redundancy, bits) == (44_100, 2, 16) else 40, bits=bits)
    lost = {number for number in range(5, len(packets)) if number % 7 < 2}
    for number, samples in enumerate(packets):
        datagram = sender.wire.encode(number, samples)
        if number not in lost:
            assert receiver.hear(datagram, number) == Heard.AUDIO
    numbers = [number - 65_536 for number in receiver.got.numbers]
    end = numbers[-1] + 1
    assert numbers == list(range(end)) if redundancy else sorted(set(range(end)) - lost) == numbers
    for number, (_, _, samples, recovered) in zip(numbers, receiver.got, strict=True):
        assert recovered == (number in lost)
        np.testing.assert_array_equal(samples, packets[number])


def test_exit_packet(side, noise):
    sender, receiver = side(**OPTIONS), side(**OPTIONS)
    receiver.hear(sender.wire.encode(0, noise(1)[0]))
    assert list(sender.wire.goodbye(0)) == [b"\xff" * 63] * 2
    assert receiver.hear(EXIT_PACKET) == Heard.GOODBYE
    assert receiver.hear(b"\xff" * 62) == Heard.NOTHING


def test_a_peer_that_begins_again_at_0_is_heard_at_once(side, noise):
    receiver = side(**OPTIONS)
    first = side(**OPTIONS)
    for number in range(5000):
        receiver.hear(first.wire.encode(number, noise(1)[0]), number * 10**6)
    receiver.hear(EXIT_PACKET)
    again = side(**OPTIONS)
    for number in range(3):
        receiver.hear(again.wire.encode(number, noise(1)[0]), 10**10 + number * StreamSpec(48_000, 64).packet_ns)
    assert np.all(np.diff(receiver.got.numbers[-4:]) > 0)
    assert np.diff(receiver.got.numbers[-3:]).tolist() == [1, 1]
    assert receiver.count("RESTARTS", "RECEIVED") == (1, 5003)


@pytest.mark.parametrize(
    ("spec", "options", "cause"),
    [
        (StreamSpec(44_100, 64, 2), {}, "WRONG_FORMAT"),
        (StreamSpec(48_000, 64, 1), {}, "WRONG_FORMAT"),
        (StreamSpec(48_000, 64, 2), {"bits": 24}, "WRONG_FORMAT"),
        (StreamSpec(48_000, 128, 2), {}, "WRONG_SIZE"),
    ],
)
def test_what_is_not_our_format_is_counted(side, noise, spec, options, cause):
    receiver, sender = side(**OPTIONS), side(spec, **options, **OPTIONS)
    assert receiver.hear(sender.wire.encode(0, noise(1, spec.packet_samples, spec.channels)[0])) == Heard.NOTHING
    assert receiver.counts == {cause: 1}
    told = receiver.count("PEER_PACKET_SAMPLES", "PEER_SAMPLE_RATE_HZ")
    assert told == (spec.packet_samples, spec.sample_rate_hz)


def test_redundant_copies_of_another_format_are_passed_by(side, noise):
    sender, receiver = (side(redundancy=1, **OPTIONS) for _ in range(2))
    receiver.hear(sender.wire.encode(0, noise(1)[0]))
    sender.wire.encode(1, noise(1)[0])
    datagram = bytearray(sender.wire.encode(2, noise(1)[0]))
    datagram[len(datagram) // 2 + 12] = 0  # the copy's sample rate
    assert receiver.hear(datagram) == Heard.AUDIO
    assert receiver.counts == {"RECEIVED": 2, "LOST_BY_US": 1}


def test_a_rate_without_a_code_is_refused(side):
    with pytest.raises(InputError, match="sample_rate_hz is 24000"):
        side(StreamSpec(24_000, 64, 2), **OPTIONS)


def test_hub_greeting():
    greeting = hub_greeting(4464, "box")
    assert greeting == struct.pack("<i", 4464) + b"box" + bytes(61)
    assert len(hub_greeting(1, "ü" * 64)) == 68
    assert hub_greeting(1, "ü" * 64)[4:] == ("ü" * 31).encode() + bytes(2)


@pytest.mark.parametrize(
    ("answer", "port"), [("4aee0000", 61_002), ("00000000", None), ("ffffffff", None), ("4aee", None)]
)
def test_hub_port(answer, port):
    assert hub_port(bytes.fromhex(answer)) == port
