import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from continuo.firmware_py.errors import InputError, RunError
from continuo.firmware_py.net.config import NetConfig
from continuo.firmware_py.net.counters import NetCounter, PeerState, new_counters
from continuo.firmware_py.net.endpoint import Endpoint
from continuo.firmware_py.rt.spec import StreamSpec

SPEC = StreamSpec(48_000, 64, 2)
WIRES = {
    "srtp": {},
    "rtp": {"insecure": True},
    "redundant 24 bits": {"redundancy": 2, "bits": 24},
    "jacktrip": {"wire": "jacktrip-p2p", "insecure": True},
}


class Collected(list):
    def __call__(self, packet_number, arrival_ns, samples, recovered):
        self.append((packet_number, arrival_ns, samples.copy(), recovered))


@pytest.fixture
def endpoint(key):
    """Makes endpoints on loopback: endpoint(peer_port=..., ...); each has a `got`."""
    made = []

    def make(spec=SPEC, **options):
        options = {"local_port": 0, "local_host": "127.0.0.1"} | options
        if not options.get("insecure"):
            options["key"] = key
        if "peer_port" in options:
            options.setdefault("peer_host", "127.0.0.1")
        got = Collected()
        made.append(Endpoint(NetConfig(**options), spec, got))
        made[-1].got = got
        return made[-1]

    yield make
    for item in made:
        item.close()


def poll_until(end, condition, *endpoints, timeout_s=5.0):
    until = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < until, {item.name: int(end.counters[item]) for item in NetCounter}
        for item in (end, *endpoints):
            item.poll(0.01)


def count(end, *names):
    return tuple(int(end.counters[NetCounter[name]]) for name in names)


@pytest.mark.parametrize("name", WIRES)
def test_both_ways_and_goodbye(endpoint, noise, name):
    """One end knows the other's address, the other answers whoever speaks."""
    box = endpoint(**WIRES[name])
    peer = endpoint(peer_port=box.local_port, **WIRES[name])
    packets = noise(100, bits=16)
    assert box.peer_state == PeerState.WAITING
    for number, samples in enumerate(packets):
        before_ns = time.monotonic_ns()
        peer.send(number, samples)
        poll_until(box, lambda number=number: len(box.got) > number)
        assert before_ns - 10**6 < box.got[-1][1] <= time.monotonic_ns()
        assert box.send(number, samples)
    poll_until(peer, lambda: len(peer.got) == 100)
    for end in (box, peer):
        assert np.diff([packet[0] for packet in end.got]).tolist() == [1] * 99
        np.testing.assert_array_equal([packet[2] for packet in end.got], packets)
        assert end.peer_state == PeerState.PLAYING
        assert count(end, "SENT", "RECEIVED") == (100, 100)
    peer.close()
    poll_until(box, lambda: box.peer_state == PeerState.GONE)
    assert count(box, "GOODBYES", "STOPS") == (1, 0)


def test_nobody_to_send_to_yet(endpoint, noise):
    box = endpoint()
    assert not box.send(0, noise(1)[0])
    assert count(box, "SEND_DROPPED", "SENT") == (1, 0)


def test_silence_stops_the_peer_and_its_next_packet_starts_it(endpoint, noise):
    box = endpoint(stopped_ms=100)
    peer = endpoint(peer_port=box.local_port)
    peer.send(0, noise(1)[0])
    poll_until(box, lambda: box.peer_state == PeerState.PLAYING)
    poll_until(box, lambda: box.peer_state == PeerState.STOPPED)
    assert count(box, "STOPS") == (1,)
    again = endpoint(peer_port=box.local_port)  # a peer that was started anew: another SSRC, another port
    again.send(0, noise(1)[0])
    poll_until(box, lambda: box.peer_state == PeerState.PLAYING)
    assert count(box, "RESTARTS") == (1,)
    assert box.got[1][0] - box.got[0][0] > 50  # 100 ms of packets of 1.3 ms
    assert box.send(0, noise(1)[0])
    poll_until(again, lambda: again.got)


def test_while_the_peer_plays_nobody_else_is_heard(endpoint, noise):
    box = endpoint(insecure=True)
    peer = endpoint(peer_port=box.local_port, insecure=True)
    peer.send(0, noise(1)[0])
    poll_until(box, lambda: box.got)
    stranger = endpoint(peer_port=box.local_port, insecure=True)
    stranger.send(0, noise(1)[0])
    poll_until(box, lambda: count(box, "FOREIGN_ADDRESS")[0] >= 1)
    assert len(box.got) == 1


def test_another_host_than_the_configured_one_is_foreign(endpoint, noise):
    box = endpoint(peer_port=9, peer_host="127.0.0.2", insecure=True, local_host="0.0.0.0")
    stranger = endpoint(peer_port=box.local_port, insecure=True)
    stranger.send(0, noise(1)[0])
    poll_until(box, lambda: count(box, "FOREIGN_ADDRESS") == (1,))
    friend = endpoint(peer_port=box.local_port, local_host="127.0.0.2", insecure=True)
    friend.send(0, noise(1)[0])
    poll_until(box, lambda: len(box.got) == 1)


@pytest.mark.parametrize("name", WIRES)
def test_oversized_foreign_and_malformed_datagrams_change_nothing(endpoint, noise, name):
    box = endpoint(**WIRES[name])
    peer = endpoint(peer_port=box.local_port, **WIRES[name])
    packets = noise(20)
    rng = np.random.default_rng(0)
    for number, samples in enumerate(packets):
        peer.send(number, samples)
        for length in (65_507, 8000, 300, 17, 1, 0):
            peer._socket.sendto(rng.bytes(length), ("127.0.0.1", box.local_port))
        poll_until(box, lambda number=number: len(box.got) > number)
    poll_until(box, lambda: count(box, "OVERSIZED") == (40,))
    np.testing.assert_array_equal([packet[2] for packet in box.got], packets)
    assert count(box, "RECEIVED", "LOST_BY_US") == (20, 0)


def test_a_flood_leaves_time_to_send(endpoint, noise):
    box = endpoint(insecure=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as flood:
        for _ in range(100):
            flood.sendto(b"x" * 20, ("127.0.0.1", box.local_port))
        box.poll(0.1)
    assert count(box, "MALFORMED") == (64,)


def test_wait_also_wakes_and_poll_returns_in_time(endpoint):
    box = endpoint()
    read, write = os.pipe()
    try:
        box.wait_also(read)
        started_s = time.monotonic()
        assert not box.poll(10)
        assert time.monotonic() - started_s < 2
        os.write(write, b"x")
        assert box.poll(10)
        assert box.poll(10)  # the caller's to read
        os.read(read, 1)
        assert not box.poll(0)
    finally:
        os.close(read)
        os.close(write)


def test_ipv6(endpoint, noise):
    box = endpoint(local_host="::")
    peer = endpoint(peer_host="::1", peer_port=box.local_port, local_host="")
    peer.send(0, noise(1)[0])
    poll_until(box, lambda: box.got)
    assert box.send(0, noise(1)[0])
    poll_until(peer, lambda: peer.got)


def test_an_ipv4_peer_of_an_endpoint_that_listens_everywhere(endpoint, noise):
    box = endpoint(local_host="")
    peer = endpoint(peer_port=box.local_port)
    peer.send(0, noise(1)[0])
    poll_until(box, lambda: box.got)
    assert box.send(0, noise(1)[0])
    poll_until(peer, lambda: peer.got)


def test_round_trip_is_measured(endpoint, noise):
    box = endpoint()
    peer = endpoint(peer_port=box.local_port)
    samples, number = noise(1)[0], 0

    def both_measured():
        nonlocal number
        number += 1
        peer.send(number, samples)
        box.send(number, samples)
        return count(box, "ROUND_TRIP_NS")[0] and count(peer, "ROUND_TRIP_NS")[0]

    poll_until(box, both_measured, peer, timeout_s=10)
    assert 0 < count(box, "ROUND_TRIP_NS")[0] < 10**9


def test_counters_may_lie_in_shared_memory(key):
    memory = bytearray(8 * len(NetCounter))
    with Endpoint(NetConfig(local_port=0, key=key), SPEC, Collected(), new_counters(memory)) as box:
        box.send(0, np.zeros((64, 2), np.float32))
    assert memory[8 * NetCounter.SEND_DROPPED] == 1


def test_what_cannot_be_opened_is_said(endpoint):
    box = endpoint()
    with pytest.raises(RunError, match="Address already in use: choose another"):
        endpoint(local_port=box.local_port)
    with pytest.raises(InputError, match=r"net\.peer_host no\.such\.host\.invalid"):
        endpoint(peer_host="no.such.host.invalid", peer_port=1)
    with pytest.raises(InputError, match="not a host name"):
        endpoint(peer_host="a" * 70 + ".b", peer_port=1)


def test_closing_twice(endpoint):
    box = endpoint()
    box.close()
    box.close()


def test_datagrams_are_marked_for_routers(endpoint, noise):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(5)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
        endpoint(peer_port=ear.getsockname()[1]).send(0, noise(1)[0])
        _, ancillary, _, _ = ear.recvmsg(2000, 64)
    assert ancillary[0][2][0] >> 2 == 46


def test_a_hub_that_is_not_there_is_asked_again_and_harms_nothing(free_port, noise):
    config = NetConfig(wire="jacktrip-hub", insecure=True, peer_host="127.0.0.1", peer_port=free_port(), local_port=0)
    with Endpoint(config, SPEC, Collected()) as box:
        for _ in range(5):
            box.poll(0.02)
            assert not box.send(0, noise(1)[0])
        assert count(box, "SEND_DROPPED") == (5,)
        assert box.peer_state == PeerState.WAITING


def test_without_a_network(tmp_path, key):
    """In a namespace whose loopback is down every datagram is refused: counted, not raised."""
    script = tmp_path / "alone.py"
    script.write_text(
        "import numpy as np\n"
        "from continuo.firmware_py.net.config import NetConfig\n"
        "from continuo.firmware_py.net.counters import NetCounter\n"
        "from continuo.firmware_py.net.endpoint import Endpoint\n"
        "from continuo.firmware_py.rt.spec import StreamSpec\n"
        f"config = NetConfig(peer_host='127.0.0.1', local_port=0, key='{key}')\n"
        "with Endpoint(config, StreamSpec(48_000, 64, 2), print) as box:\n"
        "    for number in range(3):\n"
        "        box.send(number, np.zeros((64, 2), np.float32))\n"
        "        box.poll(0.01)\n"
        "    print(box.counters[NetCounter.SEND_FAILED] >= 3)\n"
    )
    command = ["unshare", "--net", "--map-root-user", sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")
