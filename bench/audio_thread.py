"""``python -m continuo.bench.audio_thread``: what the box's audio thread costs, beside one that does nothing.

For each format two processes run at once, each on a sound card of its own that keeps time without hardware, with the
same priority and the same buffer: one captures and plays and does nothing else, the other does the box's whole work. It
hears its own packets again, one in twenty lost, in bursts; the conceal process is the real one.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ..firmware_py.audio.duplex import Duplex
from ..firmware_py.box.child import encode_config
from ..firmware_py.box.engine import Engine
from ..firmware_py.box.memory import BoxMemory
from ..firmware_py.box.place import ROOT
from ..firmware_py.box.realtime import be_real_time, freeze_garbage
from ..firmware_py.box.steering import Steering
from ..firmware_py.box.waker import Waker
from ..firmware_py.control.config import AudioConfig, BoxConfig, load_box_config
from ..firmware_py.methods import METHODS
from ..firmware_py.rt.counters import AudioCounter
from ..firmware_py.rt.playout import Playout
from ..firmware_py.rt.rings import HEAD_WORDS, NUMBER
from ..firmware_py.rt.spec import StreamSpec

__all__ = ["main"]

PACKETS, RATES_HZ = (64, 128, 256, 512), (44_100, 48_000)
CARD = Path(__file__).resolve().parents[1] / "tests" / "firmware_py" / "audio" / "timed_pcm.py"
PERIODS = 4


def main(argv: list[str] | None = None) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, metavar="DIR", help="write DIR/audio_thread.json")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each format")
    parser.add_argument("--worker", nargs=5, metavar=("WHAT", "RATE", "PACKET", "SECONDS", "FOLDER"))
    arguments = parser.parse_args(argv)
    if arguments.worker:
        what, rate, packet, seconds, folder = arguments.worker
        figures = _serve(what, StreamSpec(int(rate), int(packet), 2), float(seconds), Path(folder))
        print(json.dumps(figures))  # noqa: T201
        return
    rows = [_both(StreamSpec(rate, packet, 2), arguments.seconds) for rate in RATES_HZ for packet in PACKETS]
    console = Console()
    if not console.is_terminal:
        console.width = 140
    console.print(_table(rows))
    if arguments.out:
        arguments.out.mkdir(parents=True, exist_ok=True)
        path = arguments.out / "audio_thread.json"
        path.write_text(json.dumps(rows, indent=1) + "\n")
        console.print(f"written: {path}")


def _both(spec: StreamSpec, seconds: float) -> dict[str, Any]:
    """Both loops, at the same time."""
    with tempfile.TemporaryDirectory() as driver_name, tempfile.TemporaryDirectory(dir=ROOT) as name:
        driver, folder = Path(driver_name), Path(name)  # a tmpfs may refuse to run what is built there
        module_spec = importlib.util.spec_from_file_location("timed_pcm", CARD)
        assert module_spec is not None
        assert module_spec.loader is not None
        timed_pcm = importlib.util.module_from_spec(module_spec)
        module_spec.loader.exec_module(timed_pcm)
        cards = timed_pcm.TimedCards(folder, timed_pcm.build(driver))
        processes = {}
        for what in ("box", "idle"):
            sound = cards.add(what)
            noise = np.random.default_rng(0).integers(-(1 << 29), 1 << 29, (spec.sample_rate_hz * 2, 2))
            sound.will_capture(noise)
        for what in ("box", "idle"):
            command = [sys.executable, "-m", "continuo.bench.audio_thread", "--worker", what]
            format_of = (spec.sample_rate_hz, spec.packet_samples, seconds, folder)
            processes[what] = subprocess.Popen(
                [*command, *map(str, format_of)], stdout=subprocess.PIPE, text=True, env=os.environ | cards.environment
            )
        figures = {
            what: json.loads(process.communicate(timeout=seconds + 300)[0]) for what, process in processes.items()
        }
    return {"sample_rate_hz": spec.sample_rate_hz, "packet_samples": spec.packet_samples} | figures


def _serve(what: str, spec: StreamSpec, seconds: float, folder: Path) -> dict[str, Any]:
    """One loop, for so long once both are ready."""
    config = AudioConfig(device=what, periods=PERIODS)
    work = _Work(spec, folder) if what == "box" else None
    periods = round(seconds * 1e9 / spec.packet_ns)
    times_ns, wakes_ns = np.zeros(periods, np.int64), np.zeros(periods, np.int64)
    captured, out = (np.zeros((spec.packet_samples, spec.channels), np.float32) for _ in range(2))
    counters = work.memory.audio if work else None
    try:
        with Duplex(config, spec, counters) as device:
            be_real_time(config.priority, config.cpu)
            freeze_garbage()
            (folder / f"{what}.ready").touch()
            while not all((folder / f"{name}.ready").exists() for name in ("box", "idle")):
                time.sleep(0.01)
            for index in range(-200, periods):
                if index == 0:
                    blocks = sys.getallocatedblocks()
                    before = device.counters.copy()
                device.capture_into(captured)
                start_ns = time.monotonic_ns()
                if work is not None:
                    work.send_back()
                    start_ns = time.monotonic_ns()
                    work.engine.period(captured, out, False)
                    work_ns = time.monotonic_ns() - start_ns
                    if index >= 0:
                        times_ns[index] = work_ns
                if index >= 0:
                    wakes_ns[index] = start_ns
                device.play_from(out)
            blocks = sys.getallocatedblocks() - blocks
            counted = device.counters - before
        return {
            "work_us": _percentiles(times_ns),
            "interval_us": _percentiles(np.diff(wakes_ns)),
            "xruns": int(counted[AudioCounter.XRUNS_CAPTURE] + counted[AudioCounter.XRUNS_PLAYBACK]),
            "late_periods": int((np.diff(wakes_ns) > 2 * spec.packet_ns).sum()),
            "blocks_kept": blocks,
            "concealed": int(counted[AudioCounter.CONCEALED]),
            "misses": int(counted[AudioCounter.DEADLINE_MISSES]),
        }
    finally:
        if work is not None:
            work.close()


class _Work:
    """The box's engine with a conceal process, and a network that gives back what is sent."""

    def __init__(self, spec: StreamSpec, folder: Path) -> None:
        method = METHODS["lpc"]
        self.memory = BoxMemory(folder / "memory", spec, method, create=True)
        for name in ("net", "conceal"):
            os.mkfifo(folder / f"{name}.pipe")
        config, _ = load_box_config(
            None,
            {
                "stream.sample_rate_hz": spec.sample_rate_hz, "stream.packet_samples": spec.packet_samples,
                "stream.channels": spec.channels, "net.insecure": True, "conceal.method": "lpc",
            },
        )  # fmt: skip
        self._conceal = _conceal_process(folder, config)
        playout = Playout()
        playout.prepare(spec, 0.5, 4, 0, True)
        steering = Steering(spec, playout, spec.packet_samples, enabled=True)
        wakers = [Waker(folder / f"{name}.pipe") for name in ("net", "conceal")]
        self._network = wakers[0]
        self.engine = Engine(self.memory, spec, method, spec.packet_samples, playout, steering, *wakers)
        rng = np.random.default_rng(0)
        lost = np.zeros(4096, np.bool_)
        for index in range(1, len(lost)):
            lost[index] = rng.random() < (0.5 if lost[index - 1] else 0.026)
        self._lost: list[bool] = lost.tolist()
        self._head = np.zeros(HEAD_WORDS, np.int64)
        self._block = np.zeros((spec.packet_samples, spec.channels), np.float32)
        while not self.memory.audio.item(AudioCounter.HEARTBEAT_CONCEAL):
            time.sleep(0.01)

    def send_back(self) -> None:
        """What was sent in the last period comes back, or not."""
        self._network.drain()
        while self.memory.to_net.pop(self._head, self._block):
            number = self._head.item(NUMBER)
            if not self._lost[number % len(self._lost)]:
                self.memory.from_net.push(number, time.monotonic_ns(), 0, self._block)

    def close(self) -> None:
        self._conceal.terminate()
        self._conceal.wait(10)


def _conceal_process(folder: Path, config: BoxConfig) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-m", "continuo.firmware_py.box.conceal_process", str(folder)], stdin=subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.write(encode_config(config))
    process.stdin.close()
    return process


def _percentiles(times_ns: Any) -> dict[str, float]:
    names, values = ("p50", "p99", "p999", "max"), np.percentile(times_ns, (50, 99, 99.9, 100)) / 1000
    return dict(zip(names, np.round(values, 1).tolist(), strict=True))


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(
        title="The audio thread, per period; stereo, losses of 5 %, drift resampling on", title_justify="left"
    )
    for heading in (
        "rate", "packet", "period", "work p50", "p99", "p99.9", "blocks kept", "xruns", "idle xruns",
        "late wakes", "idle late", "replaced", "not ready",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for row in rows:
        box, idle, work = row["box"], row["idle"], row["box"]["work_us"]
        period_us = 1e6 * row["packet_samples"] / row["sample_rate_hz"]
        cells = (
            row["sample_rate_hz"], row["packet_samples"], f"{period_us:.0f} us", work["p50"], work["p99"], work["p999"],
            box["blocks_kept"], box["xruns"], idle["xruns"], box["late_periods"], idle["late_periods"],
            box["concealed"], box["misses"],
        )  # fmt: skip
        table.add_row(*map(str, cells))
    return table


if __name__ == "__main__":
    main()
