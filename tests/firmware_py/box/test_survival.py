"""What goes wrong around the audio while it plays: it goes on, and the counters say what happened."""

import os
import random
import resource
import signal
import socket
import time

import numpy as np
import pytest

from continuo.firmware_py.box.place import is_running
from continuo.firmware_py.net.counters import PeerState
from continuo.firmware_py.rt.timing import Cause


class Watch:
    """Shows that the audio of a box played on meanwhile: the same process, its periods in time, its device there."""

    def __init__(self, box):
        self.box = box
        self.pid = box.pid("audio")
        self.begun_s, self.periods = time.monotonic(), box.count("PERIODS")
        self.lost = box.count("DEVICE_LOST")

    def check(self):
        elapsed_s = time.monotonic() - self.begun_s
        packet_s = self.box.spec.packet_ns / 1e9
        played_s = (self.box.count("PERIODS") - self.periods) * packet_s
        assert self.box.pid("audio") == self.pid
        assert self.box.count("DEVICE_LOST") == self.lost
        assert played_s > 0.9 * elapsed_s - 1, (played_s, elapsed_s, self.box.counts())


def test_net_conceal_and_control_are_killed_in_turn(pair):
    """Each comes back by itself, control by being started again; the peer's music goes on after each."""
    near, far = pair()
    watch = Watch(near)

    os.kill(near.pid("net"), signal.SIGKILL)
    near.until(lambda: near.count("RESTARTS_NET") == 1 and near.count("HEARTBEAT_NET"), 60)
    received = near.count("RECEIVED")
    near.until(lambda: near.count("RECEIVED") > received + 200, 20, "nothing is received any more")
    far.until(lambda: far.net_count("RESTARTS") == 1, what="the peer does not hear us any more")

    os.kill(near.pid("conceal"), signal.SIGKILL)
    near.until(lambda: near.count("RESTARTS_CONCEAL") == 1 and near.count("HEARTBEAT_CONCEAL"), 60)

    marks = {name: near.mark(name) for name in ("audio", "conceal", "net")}
    near.process.kill()
    near.process.wait()
    time.sleep(2)
    watch.check()
    assert near.net_count("PEER_STATE") == PeerState.PLAYING
    near.start(wait=False)
    near.until(lambda: near.count("RESTARTS_CONTROL") == 1, 60)
    assert {name: near.mark(name) for name in marks} == marks
    watch.check()
    assert near.count("RESTARTS_NET", "RESTARTS_CONCEAL") == [1, 1]

    os.kill(near.pid("net"), signal.SIGKILL)  # the new control looks after what it found
    near.until(lambda: near.count("RESTARTS_NET") == 2 and near.count("HEARTBEAT_NET"), 60)
    watch.check()
    marks["net, again"] = near.mark("net")
    assert near.stop() == 0
    assert not any(is_running(mark) for mark in marks.values())  # orphans' remains may wait for init to bury them
    frozen = far.mark("conceal")
    os.kill(frozen.pid, signal.SIGSTOP)  # it will not hear that it is to end
    assert far.stop() == 0
    assert not is_running(frozen)
    rows = near.rows()
    causes = {Cause(int(cause)) for cause in np.unique(rows["cause"])}
    assert Cause.PEER_STOPPED in causes or Cause.NETWORK_LOST in causes or Cause.NETWORK_LATE in causes


def test_audio_that_dies_ends_the_box(boxes):
    box = boxes("a").start()
    os.kill(box.pid("audio"), signal.SIGKILL)
    assert box.process.wait(20) == 4
    assert "the audio process ended (signal 9)" in box.log.read_text()


def test_a_hundred_thousand_random_datagrams(pair):
    """From the peer's own address, random, cut off, and altered from real ones: none reaches the audio."""
    near, far = pair()
    watch, rng = Watch(near), random.Random(0)
    before = near.count("PLAYED")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        for index in range(100_000):
            datagram = bytearray(rng.randbytes(rng.randrange(0, 600)))
            if index % 3 and len(datagram) > 12:
                datagram[:2] = b"\x80\x60"  # looks like ours
            stranger.sendto(datagram, ("127.0.0.1", near.port))
            if index % 100 == 0:
                time.sleep(0.005)
    watch.check()
    malformed, unauthenticated, foreign = near.net_count("MALFORMED", "UNAUTHENTICATED", "FOREIGN_SSRC")
    assert malformed + unauthenticated + foreign > 20_000
    assert near.net_count("PEER_STATE") == PeerState.PLAYING
    near.until(lambda: near.count("PLAYED") > before + 1000, 20)
    assert near.count("DAMAGED_SAMPLES") == 0
    assert near.stop() == far.stop() == 0


def test_a_full_disk(pair, tmp_path):
    """The log's file may not grow beyond 64 kB: rows are lost and counted; the audio does not notice."""
    near, far = pair()
    limit = 64_000
    resource.prlimit(near.process.pid, resource.RLIMIT_FSIZE, (limit, limit))
    watch = Watch(near)
    near.until(lambda: near.count("LOG_DROPPED") > 100, 60, "no row is lost")
    watch.check()
    assert near.stop() == far.stop() == 0


def test_the_sound_card_is_unplugged(pair):
    near, far = pair()
    pid, played = near.pid("audio"), far.count("PLAYED")
    near.card.unplug()
    near.until(lambda: near.count("DEVICE_LOST") == 1)
    time.sleep(1.5)
    assert near.count("DEVICE_REOPENED") == 0
    near.card.plug_in()
    near.until(lambda: near.count("DEVICE_REOPENED") == 1)
    periods = near.count("PERIODS")
    near.until(lambda: near.count("PERIODS") > periods + 200)
    assert near.pid("audio") == pid
    far.until(lambda: far.count("PLAYED") > played + 300)
    assert near.stop() == far.stop() == 0


@pytest.mark.parametrize("change", [{"packet_samples": 256}, {"sample_rate_hz": 44_100}])
def test_the_peer_changes_its_format(boxes, change):
    """JackTrip's packets say their format: refused and counted; back in the old one, it plays again."""
    net = {"wire": "jacktrip-p2p", "insecure": True, "peer_host": "127.0.0.1"}
    near, far = boxes("near", net=net), boxes("far", net=net)
    for one, other in ((near, far), (far, near)):
        one.write({"net": {"peer_port": other.port}})
    near.start(wait=False)
    far.start()
    near.until(near.is_at_work, 180)
    near.until_playing()
    watch = Watch(near)
    assert far.stop() == 0
    far.memory = None
    stream = dict(far.sections["stream"])
    far.write({"stream": change})
    far.start(wait=False)
    refused = "WRONG_SIZE" if "packet_samples" in change else "WRONG_FORMAT"
    near.until(lambda: near.net_count(refused) > 50, 60, "it is not refused")
    assert near.net_count("PEER_PACKET_SAMPLES") == (change.get("packet_samples") or 128)
    assert far.stop() == 0
    far.sections["stream"] = stream
    far.write({})
    far.start(wait=False)
    played = near.count("PLAYED")
    near.until(lambda: near.count("PLAYED") > played + 200, 60, "it does not play again")
    watch.check()
    assert near.stop() == far.stop() == 0
