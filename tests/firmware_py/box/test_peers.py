"""Real peers of other makers and the whole box: what its card captures comes back from them, sample for sample."""

import importlib.util
import shutil
import signal
import socket
import time
from pathlib import Path

import numpy as np
import pytest

from continuo.firmware_py.box.memory import LOST
from continuo.firmware_py.net.counters import PeerState

NET_TESTS = Path(__file__).parents[1] / "net"


def load(name):
    spec = importlib.util.spec_from_file_location(f"net_{name}", NET_TESTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


network = load("conftest")
try:
    peer = load("test_jacktrip_peer")
except pytest.skip.Exception:
    peer = None
needs_jacktrip = pytest.mark.skipif(
    peer is None or not (shutil.which("jacktrip") and shutil.which("jackd")), reason="jacktrip is not installed"
)
needs_gstreamer = pytest.mark.skipif(not shutil.which("gst-launch-1.0"), reason="GStreamer is not installed")
JACKTRIP = ("jacktrip", "-n", 2, "-q", 4)
KEY_HEX = bytes(range(30)).hex()
FORMATS = {16: "S16BE", 24: "S24BE"}


@pytest.fixture
def programs(tmp_path):
    running = network.Programs(tmp_path)
    yield running
    running.end_all()


@pytest.fixture
def jack_client(programs, monkeypatch):
    """A JACK server without hardware, and a client of it."""
    monkeypatch.setenv("JACK_NO_AUDIO_RESERVATION", "1")  # asks the session bus otherwise
    monkeypatch.setenv("JACK_DEFAULT_SERVER", peer.SERVER)
    server = ("jackd", "-S", "--no-realtime", "-n", peer.SERVER, "-d", "dummy", "-r", 48_000, "-p", 128)
    programs.start(*server, "-C", 2, "-P", 2)
    until, client = time.monotonic() + 10, None
    while client is None:
        try:
            client = peer.jack.Client("continuo-box-test", no_start_server=True, servername=peer.SERVER)
        except peer.jack.JackError:
            assert time.monotonic() < until, "jackd does not answer"
            time.sleep(0.1)
    client.activate()
    yield client
    client.deactivate()
    client.close()


@pytest.fixture
def lossy():
    relays = []

    def make(port, loss):
        relays.append(network.Relay(port, loss))
        return relays[-1]

    yield make
    for item in relays:
        item.close()


def give_music(box, bits, seconds=60):
    """Half as loud as can be, exact in so many bits less one, every period another; what it captures, by its bytes."""
    packet, channels = box.spec.packet_samples, box.spec.channels
    packets = round(seconds * box.spec.sample_rate_hz / packet)
    top = 1 << bits - 2
    whole = np.random.default_rng(0).integers(-top, top, (packets * packet, channels))
    box.card.will_capture(whole << 32 - bits)
    samples = (whole / (1 << bits - 1)).astype(np.float32).reshape(packets, packet, channels)
    return {one.tobytes(): index for index, one in enumerate(samples)}


def came_back(box, sent, enough=400, timeout_s=30):
    """Indices of what was sent among what is received, in order, once there is enough."""
    found = []

    def take():
        _, flags, received, _ = box.played()
        for flag, packet in zip(flags, received, strict=True):
            if not flag & LOST and (index := sent.get(packet.tobytes())) is not None:
                found.append(index)
        return len(found) >= enough

    box.until(take, timeout_s, "nothing comes back")
    return np.array(found)


def check_in_order(found):
    assert (np.diff(found) > 0).mean() > 0.95


def jacktrip_box(boxes, bits, wire="jacktrip-p2p", **net):
    net = {"wire": wire, "insecure": True, "bits": bits} | net
    box = boxes("box", stream={"channels": 2}, net=net, playout={"fixed_packets": 8})
    return box, give_music(box, bits)


@needs_jacktrip
@pytest.mark.parametrize("bits", [16, 24])
def test_jacktrip_listens(boxes, jack_client, programs, free_port, bits):
    port, name = free_port(), f"boxserver{bits}"
    server = programs.start(*JACKTRIP, "-s", "-b", bits, "-J", name, "-B", port, say="Waiting for Connection")
    box, sent = jacktrip_box(boxes, bits, peer_host="127.0.0.1", peer_port=port)
    box.start().until_playing()
    peer.patch(jack_client, name)
    check_in_order(came_back(box, sent))
    assert box.net_count("WRONG_FORMAT", "WRONG_SIZE", "MALFORMED", "FOREIGN_ADDRESS") == [0, 0, 0, 0]
    assert box.stop() == 0
    assert server.wait(10) == 0  # our goodbye ended it
    assert "Peer Stopped" in server.log.read_text()


@needs_jacktrip
@pytest.mark.parametrize(("bits", "redundancy"), [(16, 0), (24, 1)])
def test_jacktrip_calls_through_a_network_that_loses(boxes, jack_client, programs, lossy, bits, redundancy):
    name = f"boxclient{bits}"
    box, sent = jacktrip_box(boxes, bits, redundancy=redundancy)
    box.start()
    between = lossy(box.port, 0.1)
    call = ("-c", "127.0.0.1", "-P", between.port, "-B", 0, "-r", 1 + redundancy)
    client = programs.start(*JACKTRIP, *call, "-b", bits, "-J", name)
    box.until_playing()
    peer.patch(jack_client, name)
    check_in_order(came_back(box, sent))
    recovered, lost, concealed = box.net_count("RECOVERED"), box.net_count("LOST_BY_US"), box.count("CONCEALED")
    assert concealed > 0
    assert lost > 20
    if redundancy:
        assert recovered > 0.5 * lost
    else:
        assert recovered == 0
    programs.end(client)
    box.until(lambda: box.net_count("PEER_STATE") in (PeerState.GONE, PeerState.STOPPED))
    assert box.stop() == 0


@needs_jacktrip
@pytest.mark.parametrize("bits", [16, 24])
def test_hub_client(boxes, jack_client, programs, free_port, bits):
    """The hub sends each client its own sound back (-p 1)."""
    port = free_port()
    hub = programs.start(*JACKTRIP, "-S", "-p", 1, "-b", bits, "-B", port, say="Waiting for client connections")
    box, sent = jacktrip_box(boxes, bits, "jacktrip-hub", peer_host="127.0.0.1", peer_port=port)
    box.start().until_playing()
    check_in_order(came_back(box, sent))
    assert box.stop() == 0
    programs.end(hub)


def gstreamer_box(boxes, secure, bits, **net):
    net = {"bits": bits} | ({} if secure else {"insecure": True}) | net
    stream = {"sample_rate_hz": 44_100, "packet_samples": 512, "channels": 2}
    return boxes("box", stream=stream, net=net, playout={"fixed_packets": 4})


@needs_gstreamer
@pytest.mark.parametrize("secure", [False, True])
def test_gstreamer_sends(boxes, programs, tmp_path, secure):
    bits = 24
    box = gstreamer_box(boxes, secure, bits).start()
    packets = 600
    rng, top = np.random.default_rng(1), 1 << bits - 2
    whole = rng.integers(-top, top, (packets * 512, 2))
    raw = tmp_path / "raw"
    raw.write_bytes((whole.astype(">i4") << 8).astype(">i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes())
    samples = (whole / (1 << bits - 1)).astype(np.float32).reshape(packets, 512, 2)
    sent = {one.tobytes(): index for index, one in enumerate(samples)}
    packet_ns = -(-(10**9) * 512 // 44_100)
    programs.start(
        "gst-launch-1.0", "filesrc", f"location={raw}", "!",
        "rawaudioparse", "use-sink-caps=false", f"pcm-format={FORMATS[bits].lower()}",
        "sample-rate=44100", "num-channels=2", "!",
        f"rtpL{bits}pay", "pt=96", f"min-ptime={packet_ns}", f"max-ptime={packet_ns}", "mtu=8000", "!",
        *(("srtpenc", f"key={KEY_HEX}", "!") if secure else ()),
        "udpsink", "host=127.0.0.1", f"port={box.port}", "sync=true",
    )  # fmt: skip
    found = came_back(box, sent, 300)
    assert (np.diff(found) == 1).mean() > 0.9
    assert box.count("CONCEALED") <= box.count("LATE", "INSERTED", "LOST_NETWORK")[0] + box.count("INSERTED") + 50
    assert box.stop() == 0


@needs_gstreamer
@pytest.mark.parametrize("secure", [False, True])
def test_gstreamer_receives(boxes, programs, tmp_path, free_port, secure):
    """It must be told our stream's source number before: a socket between looks at the first packet."""
    bits = 16
    port, file = free_port(), tmp_path / "received"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as between:
        between.bind(("127.0.0.1", 0))
        between.settimeout(60)
        box = gstreamer_box(boxes, secure, bits, peer_host="127.0.0.1", peer_port=between.getsockname()[1])
        sent = give_music(box, bits)
        box.start()
        first = between.recv(65_536)
        while 192 <= first[1] <= 223:  # a report
            first = between.recv(65_536)
        caps = (
            f"media=(string)audio,payload=(int)96,clock-rate=(int)44100,encoding-name=(string)L{bits},channels=(int)2"
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
        until, wanted_bytes = time.monotonic() + 30, 300 * 512 * 2 * bits // 8
        while (not file.exists() or file.stat().st_size < wanted_bytes) and time.monotonic() < until:
            datagram = between.recv(65_536)
            if not 192 <= datagram[1] <= 223:
                between.sendto(datagram, ("127.0.0.1", port))
        programs.end(program, signal.SIGTERM)
        assert box.stop() == 0
    data = np.frombuffer(file.read_bytes(), ">i2")
    samples = (data[: len(data) // 1024 * 1024].astype(np.float32) / 32_768).reshape(-1, 512, 2)
    found = [sent[one.tobytes()] for one in samples if one.tobytes() in sent]
    assert len(found) > 200, program.log.read_text()
    assert (np.diff(found) == 1).mean() > 0.9
