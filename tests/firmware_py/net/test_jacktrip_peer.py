"""Debian's JackTrip as the peer: what it plays is patched to what it captures, so that our own packets come back.

Through its jitter buffer and JACK they come back sample for sample, but where it was late or the relay dropped.
"""

import os
import shutil
import time

import numpy as np
import pytest

from continuo.firmware_py.net.config import NetConfig
from continuo.firmware_py.net.counters import NetCounter, PeerState
from continuo.firmware_py.net.endpoint import Endpoint
from continuo.firmware_py.rt.spec import StreamSpec

jack = pytest.importorskip("jack", reason="JACK-Client is not installed", exc_type=(ImportError, OSError))
pytestmark = pytest.mark.skipif(
    not (shutil.which("jacktrip") and shutil.which("jackd")), reason="jacktrip and jackd are not installed"
)

SPEC = StreamSpec(48_000, 128, 2)
SERVER = f"continuo-test-{os.getpid()}"
PLAY_S = 2.0
JACKTRIP = ("jacktrip", "-n", SPEC.channels, "-q", 4)
OPTIONS = {"wire": "jacktrip-p2p", "insecure": True}
HUB = {"wire": "jacktrip-hub", "insecure": True}


class Collected(list):
    def __call__(self, packet_number, arrival_ns, samples, recovered):
        self.append((packet_number, samples.copy(), recovered))


@pytest.fixture(scope="module")
def jack_client(programs):
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("JACK_NO_AUDIO_RESERVATION", "1")  # asks the session bus otherwise
        environment.setenv("JACK_DEFAULT_SERVER", SERVER)
        rate, samples = SPEC.sample_rate_hz, SPEC.packet_samples
        server = ("jackd", "-S", "--no-realtime", "-n", SERVER, "-d", "dummy", "-r", rate, "-p", samples)
        programs.start(*server, "-C", 2, "-P", 2)
        client = None
        until = time.monotonic() + 10
        while client is None:
            try:
                client = jack.Client("continuo-test", no_start_server=True, servername=SERVER)
            except jack.JackError:
                assert time.monotonic() < until, "jackd does not answer"
                time.sleep(0.1)
        client.activate()
        yield client
        client.deactivate()
        client.close()


def patch(client, name):
    """Connect what JackTrip plays to what it captures, instead of to the sound card, as soon as it lets us."""
    until = time.monotonic() + 5
    while True:
        try:
            outputs = client.get_ports(f"^{name}:", is_audio=True, is_output=True)
            entries = client.get_ports(f"^{name}:", is_audio=True, is_input=True)
            assert len(outputs) == len(entries) == SPEC.channels
            for output, entry in zip(outputs, entries, strict=True):
                client.connect(output, entry)
        except (AssertionError, jack.JackError):
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            break
    for output, entry in zip(outputs, entries, strict=True):
        for port in client.get_all_connections(output):
            if port.name != entry.name:
                client.disconnect(output, port)
        for port in client.get_all_connections(entry):
            if port.name != output.name:
                client.disconnect(port, entry)


def play(box, packets, ready=lambda: None):
    """Send the packets in time, once the peer is heard; the ones that it gets before are silence."""
    silence = np.zeros_like(packets[0])
    packet_s, number, told = SPEC.packet_ns / 1e9, 0, None
    start_s = time.monotonic()
    while told is None or number < told + len(packets) + 50:
        if told is None and box.peer_state == PeerState.PLAYING:
            ready()
            told = number + 50
        assert told is not None or time.monotonic() < start_s + 15, "the peer is not heard"
        while number * packet_s < time.monotonic() - start_s:
            index = -1 if told is None else number - told
            box.send(number, packets[index] if 0 <= index < len(packets) else silence)
            number += 1
        box.poll(0.001)


def came_back(got, packets):
    """Index of the sent packet for each received one, sample for sample; -1 for silence, -2 for anything else."""
    sent = {packet.tobytes(): index for index, packet in enumerate(packets)}
    return np.array([sent.get(samples.tobytes(), -2) if samples.any() else -1 for _, samples, _ in got])


def count(end, *names):
    return tuple(int(end.counters[NetCounter[name]]) for name in names)


@pytest.fixture
def music(noise):
    """Two seconds, half as loud as can be, exact in so many bits."""
    packets = round(PLAY_S * 1e9 / SPEC.packet_ns)
    return lambda bits: noise(packets, SPEC.packet_samples, SPEC.channels, bits - 1) * np.float32(0.5)


def check(back, packets):
    """Most came back unchanged and in order: all but a hundredth here, fewer on a machine that is busy."""
    indices = back[back >= 0]
    assert indices.size >= 0.5 * len(packets), np.unique(back[back < 0], return_counts=True)
    assert (np.diff(indices) > 0).mean() > 0.98


@pytest.mark.parametrize("bits", [16, 24])
def test_levels_in_jack(jack_client, programs, free_port, bits):
    """An echo would not tell if the order of the bytes were wrong: what is in JACK does."""
    port, got, name = free_port(), Collected(), f"levels{bits}"
    programs.start(*JACKTRIP, "-s", "-b", bits, "-J", name, "-B", port, say="Waiting for Connection")
    top = 1 << bits - 1
    levels = (np.array([0x123456, -0x654321]) >> 24 - bits).astype(np.float32) / np.float32(top)
    sent = np.rint(levels * 32_767) / 32_768 if bits == 16 else levels  # it scales 16 bits by one less than full scale
    client = jack.Client("continuo-levels", no_start_server=True, servername=SERVER)
    entries = [client.inports.register(f"in{channel}") for channel in range(2)]
    outputs = [client.outports.register(f"out{channel}") for channel in range(2)]
    heard = [set(), set()]

    @client.set_process_callback
    def process(_):
        for channel in range(2):
            heard[channel].update(entries[channel].get_array().tolist())
            outputs[channel].get_array()[:] = levels[channel]

    def connect():
        until = time.monotonic() + 5
        while True:
            try:
                for channel in range(2):
                    client.connect(f"{name}:receive_{channel + 1}", entries[channel])
                    client.connect(outputs[channel], f"{name}:send_{channel + 1}")
            except jack.JackError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.02)
            else:
                return

    config = NetConfig(peer_host="127.0.0.1", peer_port=port, local_port=0, bits=bits, **OPTIONS)
    with client, Endpoint(config, SPEC, got) as box:
        play(box, np.tile(levels, (200, SPEC.packet_samples, 1)), connect)
    for channel in range(2):
        # JackTrip fades where it was late; the level itself and silence are what it played, nothing beyond.
        assert levels[channel] in heard[channel]
        assert max(map(abs, heard[channel])) == abs(levels[channel])
        assert any((samples[:, channel] == sent[channel]).all() for _, samples, _ in got)


@pytest.mark.parametrize("bits", [16, 24])
def test_jacktrip_listens(jack_client, programs, free_port, music, bits):
    port, packets, got = free_port(), music(bits), Collected()
    name = f"server{bits}"
    server = programs.start(*JACKTRIP, "-s", "-b", bits, "-J", name, "-B", port, say="Waiting for Connection")
    config = NetConfig(peer_host="127.0.0.1", peer_port=port, local_port=0, bits=bits, **OPTIONS)
    with Endpoint(config, SPEC, got) as box:
        play(box, packets, lambda: patch(jack_client, name))
    check(came_back(got, packets), packets)
    assert count(box, "WRONG_FORMAT", "WRONG_SIZE", "MALFORMED", "FOREIGN_ADDRESS") == (0, 0, 0, 0)
    assert server.wait(5) == 0  # our goodbye ended it
    assert "Peer Stopped" in server.log.read_text()


@pytest.mark.parametrize(("bits", "redundancy"), [(16, 0), (24, 1)])
def test_jacktrip_calls_through_a_network_that_loses(jack_client, programs, relay, music, bits, redundancy):
    """With redundancy at both ends (JackTrip's -r counts the original too) nearly nothing of it is heard."""
    packets, got, name = music(bits), Collected(), f"client{bits}"
    with Endpoint(NetConfig(local_port=0, bits=bits, redundancy=redundancy, **OPTIONS), SPEC, got) as box:
        network = relay(box.local_port, loss=0.1)
        call = ("-c", "127.0.0.1", "-P", network.port, "-B", 0, "-r", 1 + redundancy)
        client = programs.start(*JACKTRIP, *call, "-b", bits, "-J", name)
        play(box, packets, lambda: patch(jack_client, name))
        assert network.back[1] > 50
        lost, recovered = count(box, "LOST_BY_US", "RECOVERED")
        assert lost == pytest.approx(network.towards[1], abs=20)
        if redundancy:
            assert recovered > 0.6 * lost
        else:
            assert recovered == 0
        programs.end(client)
        until = time.monotonic() + 5
        while box.peer_state != PeerState.GONE and time.monotonic() < until:  # a goodbye may be lost, not both
            box.poll(0.01)
        assert box.peer_state in (PeerState.GONE, PeerState.STOPPED)
    check(came_back(got, packets), packets)


@pytest.mark.parametrize("bits", [16, 24])
def test_hub_client(programs, jack_client, free_port, music, bits):
    """The hub sends each client its own sound back (-p 1)."""
    port, packets, got = free_port(), music(bits), Collected()
    hub = programs.start(*JACKTRIP, "-S", "-p", 1, "-b", bits, "-B", port, say="Waiting for client connections")
    config = NetConfig(peer_host="127.0.0.1", peer_port=port, local_port=0, bits=bits, **HUB)
    with Endpoint(config, SPEC, got) as box:
        play(box, packets)
    check(came_back(got, packets), packets)
    assert "Client UDP Port is" in hub.log.read_text()
    programs.end(hub)
