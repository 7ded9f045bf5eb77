import numpy as np
import pytest

from continuo.firmware_py.net.counters import DropError, NetCounter
from continuo.firmware_py.net.rtcp import (
    ReceptionStatistics,
    ReportBlock,
    build_bye,
    build_report,
    is_rtcp,
    ntp_of,
    parse_rtcp,
    round_trip_ns,
)
from continuo.firmware_py.net.wire import Heard

BLOCK = ReportBlock(0x01020304, 0x40, -2, 0x0001FFFF, 7, 0x11223344, 65_536)


def test_sender_report_bytes():
    """The pictures of RFC 3550 sections 6.4.1 and 6.5."""
    datagram = build_report(0xAABBCCDD, "me", (0x0123456789ABCDEF, 0x1_00000005, 6, 7), (BLOCK,))
    assert datagram.hex() == (
        "81c8000c" "aabbccdd" "0123456789abcdef" "00000005" "00000006" "00000007"
        "01020304" "40fffffe" "0001ffff" "00000007" "11223344" "00010000"
        "81ca0003" "aabbccdd" "01026d65" "00000000"
    )  # fmt: skip


def test_goodbye_bytes():
    assert build_bye(0xAABBCCDD, "abc").hex() == (
        "80c90001" "aabbccdd" "81ca0003" "aabbccdd" "01036162" "63000000" "81cb0001" "aabbccdd"
    )  # fmt: skip


def test_read_what_was_written():
    report = parse_rtcp(build_report(5, "name", (1 << 63 | 9, 1, 2, 3), (BLOCK, BLOCK)))
    assert (report.ssrc, report.ntp, report.packets_sent) == (5, 1 << 63 | 9, 2)
    assert report.blocks == [BLOCK, BLOCK]
    report = parse_rtcp(build_bye(5, "name"))
    assert (report.ntp, report.byes) == (None, [5])


@pytest.mark.parametrize(
    "datagram",
    [
        "80c90001",  # short
        "80ca0001aabbccdd",  # begins with a description
        "80c90002aabbccdd",  # longer than the datagram
        "81c90001aabbccdd",  # a block that is not there
        "a0c90001aabbccdd",  # padding in the first packet
        "80c90001aabbccdd40cb0001aabbccdd",  # version 1
        "80c90001aabbccdd83cb0001aabbccdd",  # three leave, one is named
        "80c90001aabbccdda1cb0001aabbcc00",  # padding of nothing
        "80c90001aabbccddcc",  # not whole words
    ],
)
def test_malformed(datagram):
    with pytest.raises(DropError) as error:
        parse_rtcp(bytes.fromhex(datagram))
    assert error.value.cause == NetCounter.MALFORMED


def test_unknown_types_are_passed_by():
    assert parse_rtcp(bytes.fromhex("80c90001aabbccdd82cd0002aabbccdd01020304")).ssrc == 0xAABBCCDD


def test_rtp_and_rtcp_share_a_port():
    assert is_rtcp(build_bye(1, "x"))
    assert not any(is_rtcp(bytes((0x80, kind))) for marker in (0, 128) for kind in range(96 + marker, 128 + marker))
    assert not is_rtcp(b"\x80")


def test_round_trip_of_the_standard():
    """The example of RFC 3550 section 6.4.1: 6.125 s."""
    block = ReportBlock(0, 0, 0, 0, 0, 0xB705_2000, 0x0005_4000)
    assert round_trip_ns(block, 0xB710_8000 << 16) == 6_125_000_000
    assert round_trip_ns(ReportBlock(0, 0, 0, 0, 0, 0, 0), 1 << 40) is None
    assert round_trip_ns(ReportBlock(0, 0, 0, 0, 0, 5 << 16, 0), 4 << 32) is None  # before it was sent


def test_ntp_time():
    assert ntp_of(0) == 2_208_988_800 << 32
    assert ntp_of(500_000_000) & 0xFFFFFFFF == 1 << 31


def test_jitter_settles_at_the_mean_change_of_transit():
    """RFC 3550 section 6.4.1: a first-order filter of |change|; here every change is 48 samples, 1 ms."""
    statistics = ReceptionStatistics(48_000)
    for packet in range(500):
        statistics.arrive(packet * 480, packet * 10_000_000 + 1_000_000 * (packet % 2))
    assert statistics.block(1, 499, 500, 0, 0).jitter == pytest.approx(48, abs=1)


def test_fraction_lost_is_of_the_last_interval():
    statistics = ReceptionStatistics(48_000)
    assert statistics.block(1, 100, 100, 25, 0).fraction_lost == 64
    assert statistics.block(1, 200, 200, 25, 0).fraction_lost == 0
    assert statistics.block(1, 300, 300, 125, 0).fraction_lost == 255
    assert statistics.block(1, 300, 300, 125, 0).lost == 125


@pytest.mark.parametrize("options", [{"insecure": True}, {}])
def test_both_ends_learn_losses_and_round_trip(side, noise, options):
    one, two = side(**options), side(**options)
    samples, second = noise(1)[0], 1_000_000_000
    for number in range(100):
        there, back = one.wire.encode(number, samples), two.wire.encode(number, samples)
        if number % 10 != 5:
            two.hear(there, number)
        if number % 4 != 1:
            one.hear(back, number)
    for datagram in one.wire.reports(5 * second):
        assert two.hear(datagram, 5 * second + 30_000_000) == Heard.CONTROL
    for datagram in two.wire.reports(6 * second):
        assert one.hear(datagram, 6 * second + 20_000_000) == Heard.CONTROL
    assert one.count("LOST_BY_PEER", "LOST_BY_US") == (10, 25)
    assert one.count("ROUND_TRIP_NS")[0] == pytest.approx(50_000_000, abs=100_000)
    for datagram in one.wire.reports(8 * second):
        two.hear(datagram, 8 * second)
    assert two.count("LOST_BY_PEER") == (25,)


def test_reports_come_about_once_a_second(side):
    wire = side(insecure=True).wire
    times_s = [tick / 20 for tick in range(20 * 200) if wire.reports(tick * 50_000_000 + 10**12)]
    gaps_s = np.diff(times_s)
    assert 0.45 < gaps_s.min() < gaps_s.max() < 1.6
    assert gaps_s.mean() == pytest.approx(1.03, abs=0.1)


def test_goodbye_lets_the_next_stream_in_at_once(side, noise):
    peer, receiver = side(insecure=True), side(insecure=True)
    receiver.hear(peer.wire.encode(0, noise(1)[0]))
    stranger = side(insecure=True)
    assert receiver.hear(stranger.wire.goodbye(0)[0]) == Heard.NOTHING
    assert receiver.hear(peer.wire.goodbye(0)[0]) == Heard.GOODBYE
    assert receiver.hear(stranger.wire.encode(0, noise(1)[0]), 10**9) == Heard.AUDIO
    assert receiver.count("FOREIGN_SSRC", "RESTARTS") == (1, 1)
