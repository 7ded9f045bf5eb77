"""What stands in the way of playing: each thing that a box needs is tried, and what fails says what to do about it."""

import importlib.util
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..audio.duplex import TWO_CLOCKS, Duplex
from ..audio.reference import run_reference
from ..box.fan_out import FanOut
from ..errors import ContinuoError, MissingError, RunError
from ..methods import METHODS, with_threads
from ..net.address import bare_host, open_udp, resolve
from ..net.config import NetConfig
from ..net.counters import new_counters
from ..net.make_wire import make_wire
from ..rt.interpreter import PACKAGES
from ..rt.preparer import Preparer
from ..rt.spec import StreamSpec
from . import doctor_machine as machine
from .config import AudioConfig, BoxConfig, ConcealConfig, StreamConfig
from .finding import Finding, Verdict

__all__ = ["diagnose"]

_LISTEN_S = 1.0
_LOSSES = 40
_BUSY = 0.5
"""Of a packet's time, what a prediction may take; the rest is for the machine's own moods."""


def diagnose(config: BoxConfig, *, configured: bool = True) -> Iterator[Finding]:
    """Check one thing after the other; plays silence for a second, and opens and closes the network port.

    Parameters
    ----------
    config
        What the box would run with.
    configured
        Whether somebody wrote it: the defaults name no peer and no key.
    """
    audio, spec = config.audio, config.stream.spec
    yield machine.check_priority(audio.priority)
    yield machine.check_memory()
    yield machine.check_kernel()
    yield machine.check_timers()
    yield machine.check_governor()
    yield machine.check_cpus(audio.cpu, config.conceal.cpu)
    yield _checked("sound device", lambda: _check_device(audio, config.stream))
    yield _checked("port", lambda: _check_port(config.net))
    if configured:
        yield _checked("peer", lambda: _check_peer(config.net))
        yield _checked("wire", lambda: _check_wire(config.net, spec))
    yield _check_runtime(config.conceal.method)
    yield _checked("concealment", lambda: _check_concealment(config.conceal, spec))
    for name, folder in (("log", config.log.folder), ("record", config.record.folder)):
        if folder:
            yield _check_folder(name, Path(folder).expanduser())


def _checked(name: str, check: Callable[[], Finding]) -> Finding:
    """A library's error is the finding: its text says what to do."""
    try:
        return check()
    except ContinuoError as error:
        return Finding(name, Verdict.FAIL, str(error))


def _check_device(audio: AudioConfig, stream: StreamConfig) -> Finding:
    """Open it as the box does, and let it run for a second."""
    name = "sound device"
    with Duplex(audio, stream.spec) as duplex:
        info = duplex.info
    names = info.capture_device
    if info.playback_device != names:
        names = f"{names}, {info.playback_device}"
    says = f"{names}: {info.sample_rate_hz} Hz, {info.playback_format}, {info.periods} x {info.period_samples} samples"
    report = run_reference(audio, stream, _LISTEN_S)
    xruns = report.xruns_capture + report.xruns_playback
    says += f"; {xruns} xruns in {_LISTEN_S:.0f} s, woken every {report.period_us / 1e3:.2f} ms"
    says += f" (p99 {report.wake_us['p99'] / 1e3:.2f})"
    if report.device_lost:
        return Finding(name, Verdict.FAIL, f"{names} went away while it ran", "connect it, or choose another device")
    if xruns:
        return Finding(name, Verdict.WARN, says, "set audio.periods or audio.period_samples higher")
    if info.two_clocks:
        return Finding(name, Verdict.WARN, f"{says}; {TWO_CLOCKS}")
    return Finding(name, Verdict.OK, says)


def _check_peer(net: NetConfig) -> Finding:
    """Ask the name server."""
    if not net.peer_host:
        return Finding("peer", Verdict.OK, "none is configured: whoever sends first is the peer")
    kind = socket.SOCK_STREAM if net.wire == "jacktrip-hub" else socket.SOCK_DGRAM
    _, address = resolve(net.peer_host, net.peer_port, kind)
    return Finding("peer", Verdict.OK, f"{net.peer_host} is {bare_host(address)}, port {net.peer_port}")


def _check_port(net: NetConfig) -> Finding:
    """Bind it."""
    try:
        udp = open_udp(socket.AF_INET6, net.local_host, net.local_port, net.dscp)
    except RunError as error:
        raise RunError(f"{error}, unless it is this box that plays already") from None
    port = udp.getsockname()[1]
    udp.close()
    chosen = "" if net.local_port else ", any free one: a peer behind a router cannot find it"
    return Finding("port", Verdict.OK, f"UDP {port} is free{chosen}")


def _check_wire(net: NetConfig, spec: StreamSpec) -> Finding:
    """Make it: it may need a library, or not carry this format."""
    make_wire(net).prepare(spec, new_counters())
    if net.insecure:
        remedy = "set net.wire = rtp and net.key_file, unless the peer has only this"
        return Finding("wire", Verdict.WARN, f"{net.wire} without encryption", remedy)
    return Finding("wire", Verdict.OK, f"{net.wire}, encrypted")


def _check_runtime(method: str) -> Finding:
    """Whether there is something that runs networks."""
    name = "network runtime"
    there = [package for package in PACKAGES if importlib.util.find_spec(package) is not None]
    if there:
        return Finding(name, Verdict.OK, there[0])
    if METHODS[method].refiner is None:
        return Finding(name, Verdict.OK, f"none is installed; {method} does without")
    return Finding(
        name, Verdict.WARN, f"none is installed; {method} needs one: linear prediction will stand in",
        "pip install ai-edge-litert",
    )  # fmt: skip


def _check_concealment(conceal: ConcealConfig, spec: StreamSpec) -> Finding:
    """Load its model, if it has one, and replace packets of noise as the conceal process does."""
    name, method = "concealment", with_threads(METHODS[conceal.method], conceal.threads)
    try:
        preparer = Preparer(method)
        preparer.prepare(spec)
    except MissingError:  # `network runtime` says so
        preparer = Preparer(replace(method, refiner=None))
        preparer.prepare(spec)
    if spec.channels > 1 and len(os.sched_getaffinity(0)) > 1:
        preparer.fan_out = FanOut(spec.channels)
    rng = np.random.default_rng(0)
    predicted_ns, refined_ns = [], []
    for _ in range(_LOSSES):
        preparer.received(rng.uniform(-0.1, 0.1, (spec.packet_samples, spec.channels)).astype(np.float32))
        preparer.refine()
        predicted_ns.append(preparer.predict_ns)
        refined_ns.append(preparer.refine_ns)
    packet_ms = spec.packet_ns / 1e6
    predicted_ms, refined_ms = (float(np.median(took_ns)) / 1e6 for took_ns in (predicted_ns, refined_ns))
    until_next_ms = max(packet_ms, 1e3 * method.refit_samples / spec.sample_rate_hz)
    says = f"{conceal.method}: predicts in {predicted_ms:.2f} ms"
    says += f", refines in {refined_ms:.2f} ms" if preparer.method.refiner is not None else ""
    says += f"; a packet plays for {packet_ms:.2f} ms"
    larger = "set stream.packet_samples higher"
    if predicted_ms > _BUSY * packet_ms:
        return Finding(name, Verdict.WARN, says, f"{larger}, or choose another conceal.method")
    if refined_ms > until_next_ms:
        remedy = f"{larger}, or conceal.threads, or set conceal.method = lpc, which is what will be heard anyway"
        return Finding(name, Verdict.WARN, f"{says}, too short for the network", remedy)
    if predicted_ms + refined_ms > packet_ms:
        remedy = f"{larger}, or conceal.threads, if you want it for every loss"
        return Finding(name, Verdict.WARN, f"{says}: only longer bursts are refined", remedy)
    return Finding(name, Verdict.OK, says)


def _check_folder(name: str, folder: Path) -> Finding:
    """Whether something can be written there, or where it would be made."""
    name = f"{name} folder"
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        return Finding(name, Verdict.FAIL, f"{folder} cannot be written", "let the user that runs the box own it")
    return Finding(name, Verdict.OK, f"{folder}: {shutil.disk_usage(there).free // 1_000_000:,} MB free")
