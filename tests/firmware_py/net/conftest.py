import base64
import contextlib
import os
import random
import select
import signal
import socket
import subprocess
import threading
import time

import numpy as np
import pytest

from continuo.firmware_py.net.config import NetConfig
from continuo.firmware_py.net.counters import NetCounter, new_counters
from continuo.firmware_py.net.make_wire import make_wire
from continuo.firmware_py.rt.spec import StreamSpec

KEY = base64.b64encode(bytes(range(30))).decode()


class Collected(list):
    """A sink that keeps copies: (packet_number, arrival_ns, samples, recovered)."""

    def __call__(self, packet_number, arrival_ns, samples, recovered):
        self.append((packet_number, arrival_ns, samples.copy(), recovered))

    @property
    def numbers(self):
        return [packet[0] for packet in self]


class Side:
    """A prepared wire with its counters and its sink."""

    def __init__(self, config, spec=None):
        self.counters = new_counters()
        self.wire = make_wire(config)
        self.wire.prepare(spec or StreamSpec(48_000, 64, 2), self.counters)
        self.got = Collected()

    def hear(self, datagram, arrival_ns=0):
        return self.wire.decode(memoryview(bytes(datagram)), arrival_ns, self.got)

    def count(self, *names):
        return tuple(int(self.counters[NetCounter[name]]) for name in names)

    @property
    def counts(self):
        """The counters that are not 0, by name, but for the values among them."""
        values = {"PEER_STATE", "PEER_PACKET_SAMPLES", "PEER_SAMPLE_RATE_HZ", "PEER_JITTER_NS", "ROUND_TRIP_NS"}
        return {
            item.name: int(self.counters[item])
            for item in NetCounter
            if self.counters[item] and item.name not in values
        }


class Programs:
    """Real peers: started here, ended here by process id, each with a log to show."""

    def __init__(self, folder):
        self._folder = folder
        self._running = []

    def start(self, *command, env=None, say=None, timeout_s=10):
        log = self._folder / f"{len(self._running)}-{command[0]}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["timeout", "--foreground", "60", *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        self._running.append(process)
        process.log = log
        until = time.monotonic() + timeout_s
        while say is not None and say not in log.read_text(errors="replace"):
            if process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"{' '.join(map(str, command))}: {log.read_text(errors='replace')}")
            time.sleep(0.02)
        return process

    @staticmethod
    def end(process, how=signal.SIGTERM):
        if process.poll() is None:
            process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what `timeout` ran, too
        process.wait(5)

    def end_all(self):
        for process in reversed(self._running):
            self.end(process)


class Relay:
    """UDP between whoever speaks first and a fixed place, with losses in both directions."""

    def __init__(self, port, loss, seed=0):
        self._peer = ("127.0.0.1", port)
        self._loss = loss
        self._random = random.Random(seed)
        self._near, self._far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        self._near.bind(("127.0.0.1", 0))
        self._far.bind(("127.0.0.1", 0))
        self.port = self._near.getsockname()[1]
        self.passed = {self._near: 0, self._far: 0}
        self.dropped = {self._near: 0, self._far: 0}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def towards(self):
        """Passed and dropped on the way to the fixed place."""
        return self.passed[self._near], self.dropped[self._near]

    @property
    def back(self):
        return self.passed[self._far], self.dropped[self._far]

    def close(self):
        self._stop.set()
        self._thread.join(2)
        self._near.close()
        self._far.close()

    def _run(self):
        speaker = None
        while not self._stop.is_set():
            for source in select.select([self._near, self._far], [], [], 0.05)[0]:
                datagram, address = source.recvfrom(65_536)
                if source is self._near:
                    speaker = address
                if self._random.random() < self._loss:
                    self.dropped[source] += 1
                    continue
                self.passed[source] += 1
                out, to = (self._far, self._peer) if source is self._near else (self._near, speaker)
                with contextlib.suppress(OSError):
                    out.sendto(datagram, to)


@pytest.fixture
def side():
    """Makes sides: side(bits=24, insecure=True), side(spec=...). Without `insecure` they share a key."""

    def make(spec=None, **options):
        if not options.get("insecure"):
            options.setdefault("key", KEY)
        return Side(NetConfig(**options), spec)

    return make


@pytest.fixture
def noise():
    """Packets of noise: noise(count, packet_samples=64, channels=2, bits=16), exact in so many bits."""

    def make(count, packet_samples=64, channels=2, bits=16, seed=0):
        top = 1 << bits - 1
        integers = np.random.default_rng(seed).integers(-top, top, (count, packet_samples, channels))
        return (integers / top).astype(np.float32)

    return make


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    running = Programs(tmp_path_factory.mktemp("programs"))
    yield running
    running.end_all()


@pytest.fixture
def relay():
    relays = []

    def make(port, loss, seed=0):
        relays.append(Relay(port, loss, seed))
        return relays[-1]

    yield make
    for item in relays:
        item.close()


@pytest.fixture
def free_port():
    """A UDP port that nobody listens on."""

    def find():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return find


@pytest.fixture(scope="session")
def key():
    return KEY
