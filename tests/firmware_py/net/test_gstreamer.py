"""GStreamer as the peer: its RTP and SRTP into our endpoint, and ours into its files."""

import contextlib
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest

from continuo.firmware_py.net.config import NetConfig
from continuo.firmware_py.net.counters import NetCounter
from continuo.firmware_py.net.endpoint import Endpoint
from continuo.firmware_py.net.make_wire import make_wire
from continuo.firmware_py.net.rtcp import is_rtcp
from continuo.firmware_py.rt.spec import StreamSpec

pytestmark = pytest.mark.skipif(not shutil.which("gst-launch-1.0"), reason="GStreamer is not installed")

SPEC = StreamSpec(44_100, 512, 2)
PACKETS = 100
KEY_HEX = bytes(range(30)).hex()
FORMATS = {16: "S16BE", 24: "S24BE"}


class Collected(list):
    def __call__(self, packet_number, arrival_ns, samples, recovered):
        self.append((packet_number, samples.copy()))


@pytest.fixture(scope="module", autouse=True)
def srtp_plugin():
    subprocess.run(["gst-inspect-1.0", "srtpenc"], stdout=subprocess.DEVNULL, check=True, timeout=60)


def options(secure, bits, key):
    return {"bits": bits, "local_port": 0, "local_host": "127.0.0.1"} | ({"key": key} if secure else {"insecure": True})


def integers(packets, bits):
    """Big-endian bytes of the samples, as RTP and GStreamer's S16BE and S24BE have them."""
    whole = np.rint(packets.astype(np.float64) * 2 ** (bits - 1)).astype(">i4") << 32 - bits
    return np.ascontiguousarray(whole).astype(">i4").view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("bits", [16, 24])
def test_gstreamer_sends(programs, tmp_path, noise, key, bits, secure):
    packets = noise(PACKETS, SPEC.packet_samples, SPEC.channels, bits)
    raw = tmp_path / "raw"
    raw.write_bytes(integers(packets, bits))
    got = Collected()
    with Endpoint(NetConfig(**options(secure, bits, key)), SPEC, got) as box:
        packet_ns = -(-(10**9) * SPEC.packet_samples // SPEC.sample_rate_hz)
        programs.start(
            "gst-launch-1.0", "filesrc", f"location={raw}", "!",
            "rawaudioparse", "use-sink-caps=false", f"pcm-format={FORMATS[bits].lower()}",
            f"sample-rate={SPEC.sample_rate_hz}", f"num-channels={SPEC.channels}", "!",
            f"rtpL{bits}pay", "pt=96", f"min-ptime={packet_ns}", f"max-ptime={packet_ns}", "mtu=8000", "!",
            *(("srtpenc", f"key={KEY_HEX}", "!") if secure else ()),
            "udpsink", "host=127.0.0.1", f"port={box.local_port}", "sync=true",
        )  # fmt: skip
        until = time.monotonic() + 15
        while len(got) < PACKETS and time.monotonic() < until:
            box.poll(0.01)
        counts = {item.name: int(box.counters[item]) for item in NetCounter if box.counters[item]}
    assert [packet[0] - got[0][0] for packet in got] == list(range(PACKETS)), counts
    np.testing.assert_array_equal([packet[1] for packet in got], packets)


@pytest.mark.parametrize("secure", [False, True])
@pytest.mark.parametrize("bits", [16, 24])
def test_gstreamer_receives(programs, tmp_path, noise, key, free_port, bits, secure):
    """It stores what it receives; reports and goodbye on the same port do it no harm."""
    port, file = free_port(), tmp_path / "received"
    wire = make_wire(NetConfig(**options(secure, bits, key)))
    wire.prepare(SPEC, np.zeros(len(NetCounter), np.int64))
    packets = noise(PACKETS, SPEC.packet_samples, SPEC.channels, bits)
    first = bytes(wire.encode(0, packets[0]))
    caps = (
        "media=(string)audio,payload=(int)96,"
        f"clock-rate=(int){SPEC.sample_rate_hz},encoding-name=(string)L{bits},channels=(int){SPEC.channels}"
    )
    if secure:
        caps = (
            f"application/x-srtp,{caps},ssrc=(uint){int.from_bytes(first[8:12], 'big')},srtp-key=(buffer){KEY_HEX},"
            "srtp-cipher=(string)aes-128-icm,srtp-auth=(string)hmac-sha1-80,"
            "srtcp-cipher=(string)aes-128-icm,srtcp-auth=(string)hmac-sha1-80,roc=(uint)0"
        )
    else:
        caps = f"application/x-rtp,{caps}"
    decrypted = ("srtpdec", "name=srtp", "srtp.rtcp_src", "!", "fakesink", "async=false", "srtp.rtp_src", "!")
    program = programs.start(
        "gst-launch-1.0", "udpsrc", "address=127.0.0.1", f"port={port}", f"caps={caps}", "!",
        *(decrypted if secure else ()),
        f"rtpL{bits}depay", "!", f"audio/x-raw,format={FORMATS[bits]}", "!",
        "filesink", f"location={file}", "buffer-mode=unbuffered", "sync=false",
        say="Setting pipeline to PLAYING",
    )  # fmt: skip
    time.sleep(0.3)
    expected = integers(packets, bits)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ours:
        for number, samples in enumerate(packets):
            ours.sendto(first if number == 0 else wire.encode(number, samples), ("127.0.0.1", port))
            for datagram in wire.reports(number * 100_000_000):
                ours.sendto(datagram, ("127.0.0.1", port))
            time.sleep(0.002)
        until = time.monotonic() + 10
        while file.stat().st_size < len(expected) and time.monotonic() < until:
            time.sleep(0.02)
        ours.sendto(wire.goodbye(0)[0], ("127.0.0.1", port))
    programs.end(program)
    assert file.read_bytes() == expected, program.log.read_text()


def test_reports_with_gstreamers_session(programs, noise, free_port):
    """Its session reports on our stream, and understands our reports: round trip and losses come back.

    It wants RTP and RTCP on a port each; the socket between sorts them.
    """
    ports = {False: free_port(), True: free_port()}
    samples = noise(1, SPEC.packet_samples, SPEC.channels)[0]
    caps = f"application/x-rtp,media=audio,payload=96,clock-rate={SPEC.sample_rate_hz},encoding-name=L16,channels=2"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as between:
        between.bind(("127.0.0.1", 0))
        between.setblocking(False)
        config = NetConfig(
            peer_host="127.0.0.1", peer_port=between.getsockname()[1], **options(False, 16, None)
        )  # its own reports come from elsewhere on that host
        with Endpoint(config, SPEC, Collected()) as box:
            programs.start(
                "gst-launch-1.0", "rtpsession", "name=session", "rtcp-min-interval=300000000",
                "udpsrc", "address=127.0.0.1", f"port={ports[False]}", f"caps={caps}", "!",
                "session.recv_rtp_sink", "session.recv_rtp_src", "!", "fakesink", "async=false",
                "udpsrc", "address=127.0.0.1", f"port={ports[True]}", "caps=application/x-rtcp", "!",
                "session.recv_rtcp_sink", "session.send_rtcp_src", "!",
                "udpsink", "host=127.0.0.1", f"port={box.local_port}", "sync=false", "async=false",
                say="Setting pipeline to PLAYING",
            )  # fmt: skip
            known, number, until = box.counters, 0, time.monotonic() + 15
            while time.monotonic() < until:
                if known[NetCounter.ROUND_TRIP_NS] and known[NetCounter.LOST_BY_PEER] > 5:
                    break
                if number % 10 != 3:
                    box.send(number, samples)
                number += 1
                box.poll(0.005)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        datagram = between.recv(65_536)
                        between.sendto(datagram, ("127.0.0.1", ports[is_rtcp(datagram)]))
            counts = {item.name: int(known[item]) for item in NetCounter if known[item]}
    assert 0 < counts.get("ROUND_TRIP_NS", 0) < 10**9, counts
    assert 5 < counts["LOST_BY_PEER"] <= number // 10 + 1
