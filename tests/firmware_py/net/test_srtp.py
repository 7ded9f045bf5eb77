import base64

import numpy as np
import pytest

from continuo.firmware_py.net.srtp import SrtpWire
from continuo.firmware_py.net.wire import Heard
from continuo.firmware_py.rt.spec import StreamSpec

OTHER_KEY = base64.b64encode(b"another key of thirty bytes!!!").decode()


def test_it_is_the_default(side):
    assert isinstance(side().wire, SrtpWire)


@pytest.mark.parametrize(("packet_samples", "channels", "bits", "redundancy"), [(64, 2, 16, 0), (1024, 8, 24, 1)])
def test_round_trip(side, noise, packet_samples, channels, bits, redundancy):
    """Also far beyond 1500 bytes, where pylibsrtp's own buffer ends."""
    spec = StreamSpec(48_000, packet_samples, channels)
    sender, receiver = (side(spec, bits=bits, redundancy=redundancy) for _ in range(2))
    packets = noise(10, packet_samples, channels, bits)
    for number, samples in enumerate(packets):
        assert receiver.hear(sender.wire.encode(number, samples)) == Heard.AUDIO
    np.testing.assert_array_equal([packet[2] for packet in receiver.got], packets)
    assert receiver.counts == {"RECEIVED": 10}


def test_nothing_of_the_samples_is_on_the_wire(side, noise):
    sender = side()
    silence = np.zeros((64, 2), np.float32)
    one, two = (bytes(sender.wire.encode(number, silence)) for number in range(2))
    assert len(one) == 12 + 256 + 10  # header, samples, tag
    assert one[12:] != two[12:]
    assert bytes(64) not in one


def test_changed_on_the_way(side, noise):
    sender, receiver = side(), side()
    receiver.hear(sender.wire.encode(0, noise(1)[0]))
    datagram = bytes(sender.wire.encode(1, noise(1)[0]))
    for at in (2, 5, 20, len(datagram) - 1):
        forged = bytearray(datagram)
        forged[at] ^= 1
        assert receiver.hear(forged) == Heard.NOTHING
    assert receiver.hear(datagram[:-1]) == Heard.NOTHING
    assert receiver.hear(datagram) == Heard.AUDIO
    assert receiver.counts == {"RECEIVED": 2, "UNAUTHENTICATED": 5}


def test_another_key_and_no_key(side, noise):
    receiver = side()
    assert receiver.hear(side(key=OTHER_KEY).wire.encode(0, noise(1)[0])) == Heard.NOTHING
    assert receiver.hear(side(insecure=True).wire.encode(0, noise(1)[0])) == Heard.NOTHING
    assert receiver.hear(side(key=OTHER_KEY).wire.goodbye(0)[0]) == Heard.NOTHING
    assert receiver.counts == {"UNAUTHENTICATED": 3}


def test_replayed(side, noise):
    sender, receiver = side(), side()
    datagrams = [bytes(sender.wire.encode(number, samples)) for number, samples in enumerate(noise(1100))]
    for datagram in datagrams[:5] + datagrams[6:]:
        receiver.hear(datagram)
    for datagram in (datagrams[7], datagrams[-1], datagrams[0]):
        assert receiver.hear(datagram) == Heard.NOTHING
    assert receiver.hear(datagrams[5]) == Heard.NOTHING  # too old to tell
    assert receiver.counts == {"RECEIVED": 1099, "REPLAYED": 4, "LOST_BY_US": 1}
    report = bytes(sender.wire.reports(0)[0])
    assert receiver.hear(report) == Heard.CONTROL
    assert receiver.hear(report) == Heard.NOTHING
    assert receiver.count("REPLAYED") == (5,)


def test_reordered_packets_come(side, noise):
    sender, receiver = side(), side()
    datagrams = [bytes(sender.wire.encode(number, samples)) for number, samples in enumerate(noise(100))]
    for datagram in datagrams[:50] + datagrams[:49:-1]:
        assert receiver.hear(datagram) == Heard.AUDIO
    assert sorted(receiver.got.numbers) == list(range(receiver.got[0][0], receiver.got[0][0] + 100))


def test_reflected_datagrams_are_ours_not_the_peers(side, noise):
    """Both directions share the key: what tells them apart is the SSRC."""
    one = side()
    assert one.hear(one.wire.encode(0, noise(1)[0])) == Heard.NOTHING
    assert one.hear(one.wire.goodbye(0)[0]) == Heard.NOTHING
    assert one.counts == {"FOREIGN_SSRC": 2}


def test_goodbye(side, noise):
    sender, receiver = side(), side()
    receiver.hear(sender.wire.encode(0, noise(1)[0]))
    assert receiver.hear(sender.wire.goodbye(0)[0]) == Heard.GOODBYE


@pytest.mark.parametrize("wraps", [1, 2, 3])
def test_who_comes_late_joins_after_one_report(side, noise, wraps):
    """The cipher counts the sequence's wraps; a receiver that did not see them learns them from a report."""
    sender, samples = side(StreamSpec(48_000, 32, 1)), noise(1, 32, 1)[0]
    number = 0
    for number in range(65_536 * wraps + 20):
        datagram = sender.wire.encode(number, samples)
    late = side(StreamSpec(48_000, 32, 1))
    assert late.hear(datagram) == Heard.NOTHING
    (report,) = sender.wire.reports(10**12)
    assert late.hear(report) == Heard.CONTROL
    forged = bytearray(sender.wire.encode(number + 1, samples))
    for step in range(2, 6):
        assert late.hear(sender.wire.encode(number + step, samples)) == Heard.AUDIO
    assert late.hear(forged) == Heard.AUDIO  # reordered, before the first that was understood
    assert late.counts == {"RECEIVED": 5, "RTCP_RECEIVED": 1, "UNAUTHENTICATED": 1}


def test_who_slept_through_half_a_wrap_joins_again_after_a_report(side, noise):
    sender, receiver, samples = side(StreamSpec(48_000, 32, 1)), side(StreamSpec(48_000, 32, 1)), noise(1, 32, 1)[0]
    packet_ns = StreamSpec(48_000, 32, 1).packet_ns
    receiver.hear(sender.wire.encode(0, samples), 0)
    receiver.wire.interrupt()
    for number in range(1, 70_000):
        datagram = sender.wire.encode(number, samples)
    receiver.hear(datagram, number * packet_ns)
    receiver.hear(sender.wire.reports(10**12)[0])
    assert receiver.hear(sender.wire.encode(number + 1, samples), (number + 1) * packet_ns) == Heard.AUDIO
    assert receiver.got.numbers[1] - receiver.got.numbers[0] == number + 1
    assert receiver.got[1][1] == (number + 1) * packet_ns
