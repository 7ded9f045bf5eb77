"""A snapshot as Prometheus metrics, in the text format that its server scrapes."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest
from prometheus_client.registry import Collector

from .deadline import DEADLINE_EDGES
from .status import State, StatusSnapshot

__all__ = ["METRICS_CONTENT_TYPE", "metrics_text"]

METRICS_CONTENT_TYPE = CONTENT_TYPE_PLAIN_1_0_0
"""Text format 1.0.0."""

_PACKETS = {
    "received": "Packets that came to the audio process.",
    "recovered": "Packets recovered from a redundant copy.",
    "late": "Packets that came after they were replaced.",
    "reordered": "Packets that came after a later one.",
    "duplicated": "Packets that came twice.",
    "concealed": "Packets replaced, for whatever cause.",
    "inserted": "Packets made up so that the playout buffer grows.",
    "merged": "Packets merged into the one before so that the playout buffer shrinks.",
}
_MACHINE = {
    "deadline_misses": "Packets for which no replacement was ready.",
    "periods_overrun": "Periods that the audio thread took too long for.",
    "device_lost": "Times that the sound device went away.",
    "device_reopened": "Times that it came back.",
    "capture_dropped": "Captured packets that the network process did not take.",
    "receive_dropped": "Received packets that the audio process did not take.",
    "damaged_samples": "Received samples that were no audio.",
    "log_dropped": "Rows of the timing log that could not be written.",
}
_SENT = {
    "sent": "Audio datagrams sent.",
    "send_dropped": "Audio datagrams not sent: no peer yet, or the socket was full.",
    "send_failed": "Audio datagrams that the kernel refused.",
}


def metrics_text(snapshot: StatusSnapshot) -> bytes:
    """Return the metrics as `METRICS_CONTENT_TYPE`. What is not known is left out."""
    return generate_latest(_Families(_families(snapshot)))


class _Families(Collector):
    """What `generate_latest` asks for metrics: nothing is kept between two scrapes but what the box counts itself."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _families(snapshot: StatusSnapshot) -> Iterator[Metric]:
    session = snapshot.session
    yield InfoMetricFamily(
        "continuo_session", "What the box runs with.",
        {
            "name": session.name, "method": session.method, "wire": session.wire, "peer": session.peer,
            "sample_rate_hz": str(session.sample_rate_hz), "packet_samples": str(session.packet_samples),
            "channels": str(session.channels),
        },
    )  # fmt: skip
    state = GaugeMetricFamily("continuo_state", "1 for what the box is doing.", labels=["state"])
    for candidate in State:
        state.add_metric([candidate], float(candidate == snapshot.state))
    yield state
    yield from _counts(snapshot)
    yield from _gauges(snapshot)
    if snapshot.deadline is not None:
        yield _deadline(snapshot)


def _counts(snapshot: StatusSnapshot) -> Iterator[Metric]:
    yield _labelled("continuo_played_packets", "Packets played, by where they came from.", "rung", snapshot.rungs)
    for name, text in _PACKETS.items():
        yield CounterMetricFamily(f"continuo_{name}_packets", text, snapshot.packets[name])
    if snapshot.causes:
        text = "Packets that were not played as sent, by cause."
        yield _labelled("continuo_dropout_packets", text, "cause", snapshot.causes)
    for name, text in _MACHINE.items():
        yield CounterMetricFamily(f"continuo_{name}", text, snapshot.machine[name])
    xruns = {side: snapshot.machine[f"xruns_{side}"] for side in ("capture", "playback")}
    yield _labelled("continuo_xruns", "Times that the sound device ran dry or over.", "side", xruns)
    restarts = {process: snapshot.machine[f"restarts_{process}"] for process in ("net", "conceal", "control")}
    yield _labelled("continuo_restarts", "Times that a process came back.", "process", restarts)
    for name, text in _SENT.items():
        yield CounterMetricFamily(f"continuo_{name}_datagrams", text, snapshot.datagrams[name])
    dropped = {cause: count for cause, count in snapshot.datagrams.items() if cause not in {*_SENT, "received"}}
    yield _labelled("continuo_dropped_datagrams", "Received datagrams that were dropped, by cause.", "cause", dropped)


def _gauges(snapshot: StatusSnapshot) -> Iterator[Metric]:
    seconds = {
        "continuo_playing": ("Since the audio began.", snapshot.playing_s, 1.0),
        "continuo_buffer_depth": ("Audio that waits to be played.", snapshot.depth_ms, 1e-3),
        "continuo_buffer_tolerance": ("Delay that the buffer allows a packet.", snapshot.tolerance_ms, 1e-3),
        "continuo_round_trip": ("Round trip on the network.", snapshot.round_trip_ms, 1e-3),
        "continuo_latency": ("From our playback to our capture, as measured.", snapshot.latency_ms, 1e-3),
        "continuo_network_latency": (
            "From what we send to what comes back from the peer, as measured.",
            snapshot.network_latency_ms,
            1e-3,
        ),
        "continuo_peer_jitter": ("Jitter of our packets at the peer.", snapshot.peer_jitter_ms, 1e-3),
    }
    for name, (text, value, unit) in seconds.items():
        if value is not None:
            yield GaugeMetricFamily(f"{name}_seconds", text, value * unit)
    if snapshot.tightness is not None:
        yield GaugeMetricFamily("continuo_tightness_ratio", "0 safe to 1 tight.", snapshot.tightness)
    yield GaugeMetricFamily("continuo_clock_drift_ratio", "Peer's clock against ours.", snapshot.drift_ppm * 1e-6)
    levels = GaugeMetricFamily("continuo_peak_ratio", "Highest peak of the last moments.", labels=["side"])
    for side, level in snapshot.levels_dbfs.items():
        levels.add_metric([side], 0.0 if level is None else 10 ** (level / 20))
    yield levels
    if snapshot.lost_by_peer is not None:  # of the peer's current stream: it begins anew with every stream
        text = "Our packets that the peer reports as lost."
        yield GaugeMetricFamily("continuo_peer_lost_packets", text, snapshot.lost_by_peer)


def _deadline(snapshot: StatusSnapshot) -> Metric:
    buckets, below = [], 0
    for edge, count in zip((*map(str, DEADLINE_EDGES), "+Inf"), snapshot.deadline or (), strict=True):
        below += count
        buckets.append((edge, float(below)))
    text = "Share of its deadline that a packet's work used."
    return HistogramMetricFamily("continuo_deadline_used_ratio", text, buckets, snapshot.deadline_used)


def _labelled(name: str, text: str, label: str, counts: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in counts.items():
        family.add_metric([value], count)
    return family
