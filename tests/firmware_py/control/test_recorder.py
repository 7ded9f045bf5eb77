import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile

from continuo.firmware_py.audio_file import Audio, read_audio
from continuo.firmware_py.box.memory import LOST, RESET
from continuo.firmware_py.control.recorder import Recorder
from continuo.firmware_py.control.take import repair_takes, unfinished_takes
from continuo.firmware_py.loss import read_trace
from continuo.firmware_py.methods import build_concealer
from continuo.firmware_py.rt.rings import AudioRing
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.simulate import simulate

SPEC = StreamSpec(48_000, 128, 2)
NAME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(-\d+)?_(received\.flac|played\.flac|trace\.txt)")


class Session:
    """Packets through a concealer into the two rings, as the audio process pushes them."""

    def __init__(self, spec=SPEC, capacity_packets=1024, method="lpc"):
        self.spec = spec
        self.rings = [AudioRing(spec, capacity_packets) for _ in range(2)]
        self.concealer = build_concealer(method)
        self.concealer.prepare(spec)
        self.rng = np.random.default_rng(0)
        self.received, self.played, self.lost = [], [], []
        self.at_ns = 10**12

    def recorder(self, folder, max_bytes=10**9, free_bytes=0):
        return Recorder(folder, self.spec, "lpc", *self.rings, max_bytes=max_bytes, free_bytes=free_bytes)

    def push(self, count, lost_share=0.1, first=False, patient=True):
        shape = (self.spec.packet_samples, self.spec.channels)
        for index in range(count):
            lost = bool(self.rng.random() < lost_share)
            packet = (self.rng.integers(-(2**15), 2**15, shape) / 2**15 / 3).astype(np.float32)
            packet = np.round(packet * 2**15).astype(np.float32) / np.float32(2**15)
            played = self.concealer.process(None if lost else packet)
            received = np.zeros_like(packet) if lost else packet
            flags = (LOST if lost else 0) | (RESET if first and index == 0 else 0)
            while patient and len(self.rings[0]) > self.rings[0].capacity_packets // 2:
                time.sleep(0.005)
            self.rings[0].push(index, self.at_ns, flags, received)
            self.rings[1].push(index, self.at_ns, flags, played)
            self.at_ns += self.spec.packet_ns
            self.received.append(received)
            self.played.append(played.copy())
            self.lost.append(lost)

    def drained(self):
        while len(self.rings[0]):
            time.sleep(0.005)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=False).returncode:
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def takes_in(folder):
    """Received, played, lost of each take; every name is one."""
    names = sorted(path.name for path in folder.iterdir())
    assert all(NAME.fullmatch(name) for name in names)
    stems = sorted({name.rsplit("_", 1)[0] for name in names})
    assert len(names) == 3 * len(stems)
    return [
        (
            read_audio(folder / f"{stem}_received.flac").samples,
            read_audio(folder / f"{stem}_played.flac").samples,
            read_trace(folder / f"{stem}_trace.txt"),
        )
        for stem in stems
    ]


def check_take(session, take, begin=0, packets=None):
    received, played, lost = take
    end = begin + (len(lost) if packets is None else packets)
    np.testing.assert_array_equal(lost, session.lost[begin:end])
    np.testing.assert_array_equal(received, np.concatenate(session.received[begin:end]))
    np.testing.assert_allclose(played, np.concatenate(session.played[begin:end]), atol=2**-24)


@pytest.mark.parametrize("spec", [SPEC, StreamSpec(44_100, 512, 1), StreamSpec(96_000, 32, 8)], ids=str)
def test_what_was_received_and_played_with_its_trace(tmp_path, spec):
    session = Session(spec)
    with session.recorder(tmp_path / "made" / "here") as recorder:
        session.push(700, first=True)
    (take,) = takes_in(tmp_path / "made" / "here")
    check_take(session, take, packets=700)
    assert (recorder.packets_recorded, recorder.packets_missed, recorder.note()) == (700, 0, "")
    path = next((tmp_path / "made" / "here").glob("*_received.flac"))
    assert soundfile.info(path).subtype == "PCM_24"
    with soundfile.SoundFile(path) as sound:
        assert sound.comment == f"Continuo, method=lpc packet_samples={spec.packet_samples}"


def test_the_simulator_makes_the_same_of_it(tmp_path):
    session = Session()
    with session.recorder(tmp_path):
        session.push(600, first=True)
    ((received, played, lost),) = takes_in(tmp_path)
    again = simulate(Audio(received, 48_000, "PCM_24", "FLAC"), lost, "lpc", 128)
    np.testing.assert_allclose(again.concealed, played, atol=2**-23)


def test_the_files_have_temporary_names_while_they_are_written(tmp_path):
    session = Session()
    with session.recorder(tmp_path):
        session.push(100)
        while len(list(tmp_path.iterdir())) < 3:
            time.sleep(0.01)
        assert {path.suffix for path in tmp_path.iterdir()} == {".part"}
    assert {path.suffix for path in tmp_path.iterdir()} == {".flac", ".txt"}


def test_each_stream_is_a_take_and_so_is_what_follows_a_hole(tmp_path):
    session = Session()
    with session.recorder(tmp_path):
        session.push(100, first=True)
        session.push(50, first=True)
        session.at_ns += 10**9
        session.push(70)
    takes = takes_in(tmp_path)  # of the same second: told apart by a number
    assert sorted(len(lost) for _, _, lost in takes) == [50, 70, 100]


def test_nothing_played_leaves_nothing(tmp_path):
    with Session().recorder(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


def test_full_rings_cost_packets_and_never_their_order(tmp_path):
    session = Session(capacity_packets=16)
    session.push(40, patient=False)  # nobody pops yet: 24 find the rings full
    session.rings[0].discard()
    session.push(1, patient=False)  # and 1 finds room in one of them
    with session.recorder(tmp_path) as recorder:
        while len(session.rings[1]):
            time.sleep(0.005)
        session.push(60)
    ((received, played, lost),) = takes_in(tmp_path)
    kept = [*range(1, 16), *range(41, 101)]
    np.testing.assert_array_equal(lost, np.array(session.lost)[kept])
    np.testing.assert_array_equal(received, np.concatenate([session.received[index] for index in kept]))
    np.testing.assert_allclose(played, np.concatenate([session.played[index] for index in kept]), atol=2**-24)
    assert recorder.packets_recorded == len(kept)


def test_never_more_bytes_than_allowed_and_the_older_stay(tmp_path):
    session = Session(method="repeat")
    with session.recorder(tmp_path, max_bytes=2_000_000) as recorder:
        session.push(3000, first=True)
        session.drained()
    assert "record.max_mb" in recorder.note()
    assert recorder.packets_missed > 0
    assert recorder.packets_recorded + recorder.packets_missed == 3000
    assert 1_000_000 < sum(path.stat().st_size for path in tmp_path.iterdir()) <= 2_000_000
    (take,) = takes_in(tmp_path)
    check_take(session, take)
    assert len(take[2]) == recorder.packets_recorded
    before = sorted(tmp_path.iterdir())
    session = Session()
    with session.recorder(tmp_path, max_bytes=2_000_000) as recorder:
        session.push(500)
    assert recorder.packets_recorded == 0
    assert sorted(tmp_path.iterdir()) == before
    with session.recorder(tmp_path, max_bytes=20_000_000) as recorder:
        session.push(500)
    assert (recorder.packets_recorded, recorder.note()) == (500, "")


@pytest.mark.parametrize("free_bytes", [0, 1_000_000])
def test_a_disk_that_fills_up_leaves_what_was_recorded(small_disk, free_bytes):
    session = Session(method="repeat")
    folder = small_disk / "takes"
    with session.recorder(folder, free_bytes=free_bytes) as recorder:
        session.push(6000, first=True)
        session.drained()
        assert recorder.note().startswith("not recording: ")
        recorded = recorder.packets_recorded
        assert recorder.packets_missed > 0
        for path in folder.iterdir():
            shutil.move(path, small_disk.parent)
        recorder._retry_at_s = 0  # the test does not wait
        session.push(300, first=True)
    assert recorder.note() == ""
    moved = small_disk.parent / "moved"
    moved.mkdir()
    for path in small_disk.parent.glob("*_*"):
        if NAME.fullmatch(path.name):
            path.rename(moved / path.name)
    (take,) = takes_in(moved)
    check_take(session, take)
    assert recorded * 0.9 < len(take[2]) <= recorded + 100
    (after,) = takes_in(folder)
    check_take(session, after, begin=6000)
    assert len(after[2]) == 300


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    session = Session()
    with session.recorder(tmp_path / "file" / "takes") as recorder:
        session.push(100)
    assert recorder.note() == "not recording: Not a directory"
    assert recorder.packets_missed == 100


PROGRAM = """
import os, sys, time
import numpy as np
from pathlib import Path
from continuo.firmware_py.control.recorder import Recorder
from continuo.firmware_py.rt.rings import AudioRing
from continuo.firmware_py.rt.spec import StreamSpec
spec = StreamSpec(48_000, 128, 2)
rings = [AudioRing(spec, 4096) for _ in range(2)]
rng = np.random.default_rng(1)
for index in range(3000):
    packet = rng.uniform(-0.5, 0.5, (128, 2)).astype(np.float32)
    for ring in rings:
        ring.push(index, 10**12 + index, index % 7 == 3, packet)
with Recorder(sys.argv[1], spec, "lpc", *rings, max_bytes=10**9, free_bytes=0) as recorder:
    while recorder.packets_recorded < 3000:
        time.sleep(0.01)
    print("recorded", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_leaves_is_made_whole(tmp_path):
    with subprocess.Popen([sys.executable, "-c", PROGRAM, tmp_path], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"recorded\n"
        names = unfinished_takes(tmp_path)
        assert len(names) == 1
        assert repair_takes(tmp_path, names) == []  # somebody is writing it
        os.kill(process.pid, signal.SIGKILL)
    with Session().recorder(tmp_path):
        while unfinished_takes(tmp_path):
            time.sleep(0.01)
    ((received, played, lost),) = takes_in(tmp_path)
    assert 2900 < len(lost) <= 3000
    assert len(received) == len(played) == 128 * len(lost)
    np.testing.assert_array_equal(lost, np.arange(len(lost)) % 7 == 3)
    rng = np.random.default_rng(1)
    expected = np.concatenate([rng.uniform(-0.5, 0.5, (128, 2)).astype(np.float32) for _ in range(len(lost))])
    np.testing.assert_allclose(received, expected, atol=2**-24)


def test_a_take_that_was_being_named_is_named(tmp_path):
    session = Session()
    with session.recorder(tmp_path):
        session.push(200, first=True)
    for path in tmp_path.glob("*.flac"):  # killed after the trace had its name
        path.rename(path.with_name(f"{path.name}.part"))
    assert len(repair_takes(tmp_path, unfinished_takes(tmp_path))) == 3
    (take,) = takes_in(tmp_path)
    check_take(session, take, packets=200)


def test_what_is_beyond_repair_stays(tmp_path):
    path = tmp_path / "2026-01-02_03-04-05_received.flac.part"
    path.write_bytes(b"fLaC")
    assert repair_takes(tmp_path, unfinished_takes(tmp_path)) == []
    assert path.exists()
    assert unfinished_takes(tmp_path / "none") == []
