"""What the box is doing, at one moment: everything that the terminal, the page and the metrics show."""

import math
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from ..net.counters import NetCounter, PeerState
from ..rt.counters import RUNG_COUNTERS_FROM, AudioCounter, Command
from ..rt.timing import Rung
from .config import BoxConfig

__all__ = ["SessionFacts", "State", "StatusSnapshot", "advice", "dbfs", "drop_counts", "rung_counts", "state_of"]

_SILENT_AFTER_NS = 2_000_000_000
_DROPS = (
    NetCounter.MALFORMED, NetCounter.FOREIGN_ADDRESS, NetCounter.FOREIGN_SSRC, NetCounter.FOREIGN_PAYLOAD_TYPE,
    NetCounter.WRONG_FORMAT, NetCounter.WRONG_SIZE, NetCounter.OVERSIZED, NetCounter.UNAUTHENTICATED,
    NetCounter.REPLAYED, NetCounter.JUMPED,
)  # fmt: skip
_LOST_MUCH, _LATE_MUCH = 0.01, 0.002


class State(StrEnum):
    """What the box is doing, in the order in which it matters."""

    AUDIO_STOPPED = "audio stopped"
    LEAVING = "leaving"
    DEVICE_LOST = "sound device lost"
    STARTING = "starting"
    WAITING = "waiting for the peer"
    PEER_STOPPED = "peer stopped"
    PEER_GONE = "peer left"
    PLAYING = "playing"


@dataclass(frozen=True)
class SessionFacts:
    """What does not change while the box runs."""

    name: str
    sample_rate_hz: int
    packet_samples: int
    channels: int
    method: str
    wire: str
    peer: str
    """Host and port, or that it is whoever calls."""
    tightness: float | None = None
    """As configured; None: the buffer is fixed."""

    @classmethod
    def of(cls, config: BoxConfig) -> Self:
        stream, net, playout = config.stream, config.net, config.playout
        return cls(
            net.name, stream.sample_rate_hz, stream.packet_samples, stream.channels, config.conceal.method,
            net.wire if not (net.wire == "rtp" and not net.insecure) else "rtp, encrypted",
            f"{net.peer_host}:{net.peer_port}" if net.peer_host else "whoever calls",
            playout.tightness if playout.fixed_packets < 0 else None,
        )  # fmt: skip


@dataclass(frozen=True)
class StatusSnapshot:
    """One moment. Counts are since the start; None: not known (yet)."""

    session: SessionFacts
    state: State
    playing_s: float | None
    """Since the audio began."""
    packets: dict[str, int]
    """``played received recovered lost late reordered duplicated concealed inserted merged``; `AudioCounter` tells of
    them. ``lost`` may go down: a packet given up for lost may come late."""
    rungs: dict[str, int]
    """Packets per `Rung`, by its name in lower case, ``received`` first."""
    recent_s: float
    """What ``recent`` is about: the last ten seconds, or less after the start."""
    recent: dict[str, float | None]
    """``lost late concealed``, each as a share of the packets played; None while none plays."""
    causes: dict[str, int]
    """Dropouts by `Cause`, by its name in lower case, as the timing rows tell."""
    deadline: tuple[int, ...] | None
    """Packets per `deadline.DEADLINE_EDGES` and one more bin for missed deadlines. None without rows."""
    deadline_used: float
    """Sum over those packets of the share of their deadline that they used."""
    levels_dbfs: dict[str, float | None]
    """``capture playback``: highest peak of the last moments; None: silence."""
    depth_ms: float
    """What waits to be played now ..."""
    tolerance_ms: float
    """... and the delay that the buffer now allows a packet."""
    tightness: float | None
    """As it was set last; None: the buffer is fixed."""
    drift_ppm: float
    """Clock of the peer against ours, positive: it is faster."""
    round_trip_ms: float | None
    latency_ms: float | None
    """From our playback to our capture, as `--measure-latency` last found it with these settings."""
    network_latency_ms: float | None
    """From what we send to what comes back from the peer, likewise."""
    peer_jitter_ms: float | None
    lost_by_peer: int | None
    """Of our packets, as the peer reports."""
    machine: dict[str, int]
    """What went wrong on this machine, by `AudioCounter`'s names in lower case."""
    datagrams: dict[str, int]
    """``sent received send_dropped send_failed``, and those dropped, by cause."""
    history: dict[str, list[float]]
    """Per second, the oldest first: ``lost late missed depth_ms``."""
    advice: tuple[str, ...]
    """What is wrong now and what to do about it, a line each."""

    def as_json(self) -> dict[str, Any]:
        """The same as lists and dictionaries."""
        return asdict(self)


def state_of(audio: NDArray[np.int64], net: NDArray[np.int64], now_ns: int) -> State:
    """Read the state from the counters of the audio and the network process."""
    heartbeat_ns = int(audio[AudioCounter.HEARTBEAT_AUDIO])
    if not heartbeat_ns:
        return State.STARTING
    if audio[AudioCounter.FADED_OUT] or audio[AudioCounter.COMMAND] == Command.STOP:
        return State.LEAVING
    if now_ns - heartbeat_ns > _SILENT_AFTER_NS:
        return State.AUDIO_STOPPED
    if audio[AudioCounter.DEVICE_LOST] > audio[AudioCounter.DEVICE_REOPENED]:
        return State.DEVICE_LOST
    return {
        PeerState.WAITING: State.WAITING, PeerState.STOPPED: State.PEER_STOPPED, PeerState.GONE: State.PEER_GONE,
    }.get(PeerState(int(net[NetCounter.PEER_STATE])), State.PLAYING)  # fmt: skip


def rung_counts(audio: NDArray[np.int64]) -> dict[str, int]:
    """Packets played per rung."""
    counts = {rung.name.lower(): int(audio[RUNG_COUNTERS_FROM + rung]) for rung in Rung if rung != Rung.RECEIVED}
    received = max(0, int(audio[AudioCounter.PLAYED]) - sum(counts.values()))
    return {Rung.RECEIVED.name.lower(): received, **counts}


def drop_counts(net: NDArray[np.int64]) -> dict[str, int]:
    """Datagrams that the network process dropped, by cause."""
    return {cause.name.lower(): int(net[cause]) for cause in _DROPS}


def dbfs(peak_millionths: int) -> float | None:
    """Level of a peak in decibels of full scale; None: silence."""
    return round(20 * math.log10(peak_millionths / 1e6), 1) if peak_millionths > 0 else None


def advice(
    session: SessionFacts, audio: NDArray[np.int64], net: NDArray[np.int64], recent: dict[str, float | None]
) -> list[str]:
    """Say what is wrong and what to do; ``audio`` and ``net`` are what was counted lately, values being as they are."""
    lines = []
    if net[NetCounter.WRONG_SIZE]:
        lines.append(
            f"the peer sends packets of {net[NetCounter.PEER_PACKET_SAMPLES]} samples, this box of "
            f"{session.packet_samples}: make stream.packet_samples the same at both ends"
        )
    if net[NetCounter.WRONG_FORMAT]:
        lines.append(
            f"the peer sends another format ({net[NetCounter.PEER_SAMPLE_RATE_HZ]} Hz): make stream.sample_rate_hz, "
            "stream.channels and net.bits the same at both ends"
        )
    if net[NetCounter.UNAUTHENTICATED]:
        lines.append("datagrams come with another key, or none: put the same key at both ends")
    if net[NetCounter.FOREIGN_PAYLOAD_TYPE]:
        lines.append("the peer sends another payload type: make net.payload_type and net.bits the same at both ends")
    if net[NetCounter.SEND_FAILED]:
        lines.append("the network refuses what we send: check net.peer_host and the cable")
    if (recent["lost"] or 0) > _LOST_MUCH:
        lines.append("the network loses packets: a cable instead of Wi-Fi helps, or net.redundancy = 1")
    if (recent["late"] or 0) > _LATE_MUCH:
        lines.append("packets come too late: lower playout.tightness")
    if audio[AudioCounter.XRUNS_CAPTURE] or audio[AudioCounter.XRUNS_PLAYBACK]:
        lines.append("the sound device ran dry or over: raise audio.periods, and see `continuo doctor`")
    if audio[AudioCounter.DEADLINE_MISSES] or audio[AudioCounter.PERIODS_OVERRUN]:
        lines.append("this machine is too slow now and then: see `continuo doctor`, or choose a lighter conceal.method")
    if audio[AudioCounter.REFINED_SLOWLY]:
        lines.append(
            f"this machine is too slow for {session.method} now and then: linear prediction stands in; raise "
            "stream.packet_samples or conceal.threads, or set conceal.method = lpc"
        )
    if audio[AudioCounter.UNREFINED]:
        lines.append("linear prediction stands in for the network of conceal.method: pip install ai-edge-litert")
    if audio[AudioCounter.LOG_DROPPED]:
        lines.append("rows of the timing log are being lost: free some space in log.folder")
    return lines
