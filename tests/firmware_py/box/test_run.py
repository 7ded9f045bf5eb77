"""The life of one box: beginning, measuring, leaving, and what it says when it cannot begin."""

import contextlib
import os
import signal
import socket
import subprocess
import time

import numpy as np

from continuo.firmware_py.box.place import Place, is_running, mark_of
from continuo.firmware_py.control.config import load_box_config
from continuo.firmware_py.control.latency_note import read_latency
from continuo.firmware_py.net.counters import PeerState
from continuo.firmware_py.rt.interpreter import PACKAGES


def ends_with(box, code, *words):
    box.start(wait=False)
    assert box.process.wait(60) == code
    lines = box.log.read_text().strip().splitlines()
    assert len(lines) == 1, box.log.read_text()
    for word in words:
        assert word in lines[0]
    assert not Place(box.config).read_marks()[1]


def test_no_such_device(boxes):
    ends_with(boxes("a", audio={"device": "nothing-like-it"}), 3, "nothing-like-it", "connect it")


def test_port_taken(boxes, free_port):
    port = free_port()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", port))
        ends_with(boxes("a", net={"local_port": port}), 4, str(port))


def test_without_what_runs_the_network_it_predicts(boxes, tmp_path):
    """A missing rung is no error: one line says what to install."""
    (tmp_path / "without").mkdir()
    for name in PACKAGES:
        (tmp_path / "without" / f"{name}.py").write_text("raise ImportError('not here')")
    path = os.pathsep.join([str(tmp_path / "without"), *filter(None, [os.environ.get("PYTHONPATH")])])
    box = boxes("a", conceal={"method": "lite-int8"}).start(environment={"PYTHONPATH": path})
    box.until(lambda: box.count("HEARTBEAT_CONCEAL"), 60)
    assert box.count("UNREFINED") == 1
    assert box.stop() == 0
    (line,) = box.log.read_text().splitlines()
    assert "pip install ai-edge-litert; until then linear prediction" in line


def test_it_leaves_cleanly_and_tells_the_service_manager(boxes, tmp_path):
    """READY, signs of life, STOPPING; exit code 0; the peer hears a goodbye; nothing is left running or lying about."""
    address = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(10)
        near, far = boxes("near"), boxes("far")
        for one, other in ((near, far), (far, near)):
            one.write({"net": {"peer_host": "127.0.0.1", "peer_port": other.port}})
        far.start(wait=False)
        near.start(environment={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "1000000"})
        far.until(far.is_at_work, 180)
        far.until_playing()
        near.until_playing()
        marks = Place(near.config).read_marks()[1]
        assert set(marks) == {"audio", "conceal", "net"}
        time.sleep(2)
        begun = time.monotonic()
        assert near.stop() == 0
        assert time.monotonic() - begun < 10
        manager.setblocking(False)
        heard = ""
        with contextlib.suppress(BlockingIOError):
            while True:
                heard += manager.recv(4096).decode() + "\n"
        assert heard.startswith("READY=1")
        assert heard.count("WATCHDOG=1") >= 2
        assert "STATUS=" in heard
        assert heard.strip().endswith("STOPPING=1")
        assert not any(is_running(mark) for mark in marks.values())
        assert not Place(near.config).folder.joinpath("memory").exists()
        far.until(lambda: far.net_count("PEER_STATE") == PeerState.GONE, what="no goodbye")
        assert far.net_count("GOODBYES") == 1
        assert far.stop() == 0
    rows = near.rows()
    assert len(rows) >= 200
    assert (np.diff(rows["sequence"]) >= 0).all()
    played = near.card.played()
    assert played.size == 0 or not played[-128:].any()  # faded


def test_seconds_and_no_second_one(boxes, tmp_path):
    """And a log that has no place to go is told, in one line; the box plays without it."""
    (tmp_path / "taken").touch()
    box = boxes("a", log={"folder": str(tmp_path / "taken")}).start("--seconds", "3")
    done = subprocess.run([*box.process.args], env=os.environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 4
    assert f"running already (process {box.process.pid})" in done.stderr
    assert box.process.wait(20) == 0
    (line,) = box.log.read_text().splitlines()
    assert line.startswith(f"continuo: log.folder {tmp_path / 'taken'} cannot be written (")


def test_latency_is_measured_through_device_and_peer(boxes):
    """Our cable: the buffer and the card's own 32 samples. The peer has a cable too: it sends back what it plays."""
    near, far = boxes("near", {"loopback": True, "delay": 32}), boxes("far", {"loopback": True, "delay": 32})
    for one, other in ((near, far), (far, near)):
        one.write({"net": {"peer_host": "127.0.0.1", "peer_port": other.port}})
    far.start(wait=False)
    near.start("--measure-latency", wait=False)
    assert near.process.wait(60) == 0
    device, network = near.log.read_text().strip().splitlines()
    buffer_samples = 128 * 4
    assert device.startswith("device, playback to capture: ")
    samples = int(device.partition("(")[2].split()[0])
    assert abs(samples - (buffer_samples + 32)) <= 16  # its two directions do not start at the very same sample
    through_peer = int(network.partition("(")[2].split()[0])
    waiting = 2 * (4 + 1) * 128
    assert samples + waiting - 256 <= through_peer <= samples + waiting + 8 * 128
    assert read_latency(load_box_config(near.config)[0]) == (samples, through_peer)  # later runs know it,
    changed = load_box_config(near.config, {"audio.periods": 5})[0]
    assert read_latency(changed) == (0, 0)  # with the same settings alone
    assert far.stop() == 0


def test_a_stop_while_it_begins(boxes):
    box = boxes("a").start(wait=False)
    box.until((Place(box.config).folder / "memory").exists, 60)
    mark = mark_of(box.process.pid)
    assert box.stop(signal.SIGINT) == 0, box.log.read_text()
    assert not is_running(mark)
    assert not Place(box.config).read_marks()[1]
