"""Read back with Prometheus' own parser."""

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client.parser import text_string_to_metric_families

from continuo.firmware_py.control.prometheus import METRICS_CONTENT_TYPE, metrics_text
from continuo.firmware_py.control.status import State
from continuo.firmware_py.rt.counters import AudioCounter


def samples_of(box):
    families = list(text_string_to_metric_families(metrics_text(box.collector.snapshot()).decode()))
    assert all(family.documentation for family in families)
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}, {
        family.name: family.type for family in families
    }


def test_counts_gauges_and_the_histogram(box):
    box.begin()
    box.play(375, lost=4, late=1, share=0.3)
    box.play(5, share=2.0)
    box.add(round_trip_ns=18_400_000, malformed=3, xruns_capture=1, restarts_net=2, sent=7)
    box.audio[AudioCounter.PLAYBACK_PEAK] = 500_000
    samples, types = samples_of(box)
    assert samples["continuo_played_packets_total", "received"] == 375
    assert samples["continuo_played_packets_total", "lpc"] == 5
    assert samples["continuo_dropout_packets_total", "network_lost"] == 4
    assert samples["continuo_dropped_datagrams_total", "malformed"] == 3
    assert samples["continuo_sent_datagrams_total",] == 7
    assert samples["continuo_xruns_total", "capture"] == 1
    assert samples["continuo_restarts_total", "net"] == 2
    assert samples["continuo_state", "playing"] == 1
    assert sum(samples["continuo_state", state] for state in State) == 1
    assert samples["continuo_round_trip_seconds",] == pytest.approx(0.0184)
    assert samples["continuo_peak_ratio", "playback"] == pytest.approx(0.5, rel=0.01)
    assert samples["continuo_peak_ratio", "capture"] == 0
    assert samples["continuo_deadline_used_ratio_bucket", "0.2"] == 0
    assert samples["continuo_deadline_used_ratio_bucket", "1.0"] == 375
    assert (
        samples["continuo_deadline_used_ratio_bucket", "+Inf"] == samples["continuo_deadline_used_ratio_count",] == 380
    )
    assert types["continuo_deadline_used_ratio"] == "histogram"
    assert types["continuo_dropout_packets"] == "counter"
    assert types["continuo_buffer_depth_seconds"] == "gauge"
    assert METRICS_CONTENT_TYPE.startswith("text/plain; version=")


def test_what_is_not_known_is_left_out(box):
    names = {name for name, *_ in samples_of(box)[0]}
    assert not names & {"continuo_round_trip_seconds", "continuo_deadline_used_ratio_count", "continuo_playing_seconds"}


def test_a_counter_never_goes_down_when_a_lost_packet_comes_late(box):
    box.play(lost=3)
    before, types = samples_of(box)
    box.add(lost_network=-1, late=1)
    after, _ = samples_of(box)
    counters = {name for name in before if name[0].endswith("_total")}
    assert counters
    assert all(after[name] >= before[name] for name in counters)
    assert "counter" in types.values()
