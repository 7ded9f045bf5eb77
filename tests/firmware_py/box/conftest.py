"""Whole boxes as processes, each with a sound card that keeps time without hardware, and a network that damages."""

import base64
import contextlib
import heapq
import json
import os
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from continuo.firmware_py.box.memory import BoxMemory
from continuo.firmware_py.box.place import Place
from continuo.firmware_py.control.timing_folder import read_timing_folder
from continuo.firmware_py.methods import METHODS
from continuo.firmware_py.net.counters import NetCounter, PeerState
from continuo.firmware_py.net.numbering import signed16
from continuo.firmware_py.net.rtcp import is_rtcp
from continuo.firmware_py.rt.counters import AudioCounter
from continuo.firmware_py.rt.rings import FLAGS, HEAD_WORDS, NUMBER
from continuo.firmware_py.rt.spec import StreamSpec

KEY = base64.b64encode(bytes(range(30))).decode()
RUN = "from continuo.firmware_py.cli import main; main()"


class Relay:
    """UDP between two ports of ours and two of the boxes': drops, bursts, delays, reorders, duplicates, corrupts.

    Reports pass unharmed. What is taken (dropped, corrupted) is noted by number, per direction: RTP's sequence plus
    65,536, and on across its wraps, as the endpoint counts.
    """

    def __init__(self, seed=0, drop=0.0, stay=0.0, corrupt=0.0, duplicate=0.0, jitter_ms=0.0, reorder=0.0):
        self._random = random.Random(seed)
        self._settings = (drop, stay, corrupt, duplicate, jitter_ms, reorder)
        self._sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        for end in self._sockets:
            end.bind(("127.0.0.1", 0))
        self.ports = [end.getsockname()[1] for end in self._sockets]
        self._towards = [None, None]
        self._losing = [False, False]
        self.passed, self.taken = [[], []], [[], []]
        self._last = [None, None]
        self._queue, self._count = [], 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def connect(self, port_of_first, port_of_second):
        """The first box sends to ``ports[0]``, the second to ``ports[1]``."""
        self._towards = [("127.0.0.1", port_of_second), ("127.0.0.1", port_of_first)]
        self._thread.start()

    def close(self):
        self._stop.set()
        self._thread.join(2)
        for end in self._sockets:
            end.close()

    def _run(self):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(40))
        while not self._stop.is_set():
            wait_s = min(0.05, self._queue[0][0] - time.monotonic()) if self._queue else 0.05
            for source in select.select(self._sockets, [], [], max(0.0, wait_s))[0]:
                with contextlib.suppress(OSError):
                    self._take(self._sockets.index(source), source.recv(65_536))
            while self._queue and self._queue[0][0] <= time.monotonic():
                _, _, side, datagram = heapq.heappop(self._queue)
                with contextlib.suppress(OSError):
                    self._sockets[1 - side].sendto(datagram, self._towards[side])

    def _take(self, side, datagram):
        drop, stay, corrupt, duplicate, jitter_ms, reorder = self._settings
        chance = self._random.random
        if is_rtcp(datagram):
            return self._pass(side, datagram, 0.0)
        sequence = int.from_bytes(datagram[2:4], "big")
        if self._last[side] is None:
            self._last[side] = sequence + 65_536
        self._last[side] = sequence = self._last[side] + signed16(sequence - self._last[side])
        self._losing[side] = chance() < (stay if self._losing[side] else drop)
        if self._losing[side]:
            return self.taken[side].append(sequence)
        if chance() < corrupt:
            self.taken[side].append(sequence)
            place = self._random.randrange(12, len(datagram))
            datagram = datagram[:place] + bytes([datagram[place] ^ 0x10]) + datagram[place + 1 :]
        else:
            self.passed[side].append(sequence)
        delay_s = chance() * jitter_ms / 1000
        if chance() < reorder:
            delay_s += jitter_ms / 1000
        self._pass(side, datagram, delay_s)
        if chance() < duplicate:
            self._pass(side, datagram, delay_s + chance() * jitter_ms / 1000)
        return None

    def _pass(self, side, datagram, delay_s):
        self._count += 1
        heapq.heappush(self._queue, (time.monotonic() + delay_s, self._count, side, datagram))


class BoxProcess:
    """``continuo run`` of a configuration, with its memory to look into."""

    def __init__(self, folder, name, sections):
        self.folder, self.name = folder, name
        self.config = folder / f"{name}.toml"
        self.sections = sections
        self.write({})
        self.process = None
        stream = {"sample_rate_hz": 48_000, "packet_samples": 128, "channels": 1} | sections["stream"]
        self.spec = StreamSpec(**stream)
        self.method = METHODS[sections["conceal"]["method"]]
        self.port = sections["net"]["local_port"]
        self.log = folder / f"{name}.log"
        self.memory = None

    def write(self, changes):
        """Write the configuration, with some values changed."""
        for section, table in changes.items():
            self.sections[section] = self.sections.get(section, {}) | table
        lines = []
        for section, table in self.sections.items():
            lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        self.config.write_text("\n".join(lines))

    def start(self, *arguments, environment=None, wait=True):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUN, "run", "--config", self.config, *arguments],
                env=os.environ | (environment or {}), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
            )  # fmt: skip
        if wait:
            self.until(self.is_at_work, 180, "the box does not begin")
        return self

    def is_at_work(self):
        assert self.process.poll() is None, self.log.read_text()
        if self.memory is None:
            with contextlib.suppress(Exception):
                self.memory = BoxMemory(Place(self.config).memory, self.spec, self.method, create=False)
        return self.memory is not None and self.count("HEARTBEAT_AUDIO") and self.count("HEARTBEAT_NET")

    def until(self, condition, timeout_s=20, what="it does not happen"):
        until_s = time.monotonic() + timeout_s
        while not (seen := condition()):
            assert time.monotonic() < until_s, f"{self.name}: {what}\n{self.log.read_text()}\n{self.counts()}"
            time.sleep(0.02)
        return seen

    def until_playing(self):
        self.until(lambda: self.memory.net[NetCounter.PEER_STATE] == PeerState.PLAYING, what="no peer")
        before = self.count("PLAYED")
        self.until(lambda: self.count("PLAYED") > before + 20, what="it does not play")
        return self

    def mark(self, name):
        return self.until(lambda: Place(self.config).read_marks()[1].get(name), what=f"no process {name}")

    def pid(self, name):
        return self.mark(name).pid

    def count(self, *names):
        counts = [int(self.memory.audio[AudioCounter[name]]) for name in names]
        return counts[0] if len(names) == 1 else counts

    def net_count(self, *names):
        counts = [int(self.memory.net[NetCounter[name]]) for name in names]
        return counts[0] if len(names) == 1 else counts

    def counts(self):
        if self.memory is None:
            return {}
        audio = {item.name: int(self.memory.audio[item]) for item in AudioCounter if self.memory.audio[item]}
        return audio | {item.name: int(self.memory.net[item]) for item in NetCounter if self.memory.net[item]}

    def played(self):
        """Everything since the last call: numbers, flags, and samples received and played."""
        head, out = np.zeros(HEAD_WORDS, np.int64), [[], [], [], []]
        block = np.zeros((self.spec.packet_samples, self.spec.channels), np.float32)
        for column, ring in ((2, self.memory.record_received), (3, self.memory.record_played)):
            count = 0
            while (count < len(out[2]) or column == 2) and ring.pop(head, block):
                count += 1
                out[column].append(block.copy())
                if column == 2:
                    out[0].append(int(head[NUMBER]))
                    out[1].append(int(head[FLAGS]))
        return out

    def stop(self, how=signal.SIGTERM, timeout_s=15):
        """End it; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout_s)

    def rows(self):
        return read_timing_folder(self.folder / f"{self.name}-log").log.rows

    def kill_everything(self):
        place = Place(self.config)
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(5)
        for mark in place.read_marks()[1].values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(mark.pid, signal.SIGKILL)
        shutil.rmtree(place.folder, ignore_errors=True)


@pytest.fixture
def free_port():
    def find():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


@pytest.fixture
def boxes(tmp_path, timed_cards, free_port):
    """Makes boxes: boxes("a", loopback=True, net={...}, stream={...}). All end with the test. ``card`` is theirs."""
    made = []

    def make(name, card=None, **sections):
        sound_card = timed_cards.add(name, **(card or {}))
        defaults = {
            "stream": {},
            "audio": {"device": name, "periods": 4},
            "net": {"local_port": free_port(), "local_host": "127.0.0.1", "key": KEY},
            "playout": {"drift": False, "fixed_packets": 4},
            "conceal": {"method": "lpc"},
            "log": {"folder": str(tmp_path / f"{name}-log")},
        }
        for section, table in sections.items():
            defaults[section] = defaults.get(section, {}) | table
        if defaults["net"].get("insecure"):
            del defaults["net"]["key"]
        made.append(BoxProcess(tmp_path, name, defaults))
        made[-1].card = sound_card
        return made[-1]

    yield make
    for box in made:
        box.kill_everything()


@pytest.fixture
def relay():
    relays = []

    def make(**settings):
        relays.append(Relay(**settings))
        return relays[-1]

    yield make
    for item in relays:
        item.close()


@pytest.fixture
def pair(boxes):
    """Two boxes that play with each other, straight: pair() starts them, options go to both."""

    def make(card=None, **sections):
        near, far = (boxes(name, card, **sections) for name in ("near", "far"))
        for one, other in ((near, far), (far, near)):
            one.write({"net": {"peer_host": "127.0.0.1", "peer_port": other.port}})
        near.start(wait=False)
        far.start()
        near.until(near.is_at_work, 180)
        return near.until_playing(), far.until_playing()

    return make
