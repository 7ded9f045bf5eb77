"""What a box that plays says of itself, while it plays and afterwards: status, page, metrics, log, recording."""

import json
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest

from continuo.firmware_py.audio_file import Audio, read_audio
from continuo.firmware_py.control.config import load_box_config
from continuo.firmware_py.control.latency_note import write_latency
from continuo.firmware_py.control.timing_dropouts import dropout_facts
from continuo.firmware_py.control.timing_folder import read_timing_folder
from continuo.firmware_py.loss import read_trace
from continuo.firmware_py.simulate import simulate

pytest.importorskip("aiohttp")

TOKEN = "a-token-of-16-or-more"
PROGRAM = "from continuo.firmware_py.cli import main; main()"


def ask(port, path):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {TOKEN}"})
    with urllib.request.urlopen(request, timeout=20) as response:
        return response.read().decode()


def status_of(box):
    command = [sys.executable, "-c", PROGRAM, "status", "--config", box.config, "--json"]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)


def test_a_box_tells_what_it_lost_and_records_it(boxes, relay, free_port, tmp_path):
    between = relay(seed=5, drop=0.02, stay=0.5)
    port = free_port()
    near = boxes(
        "near", net={"peer_host": "127.0.0.1", "peer_port": between.ports[0]},
        status={"port": port, "token": TOKEN}, record={"enabled": True, "folder": str(tmp_path / "takes")},
    )  # fmt: skip
    far = boxes("far", net={"peer_host": "127.0.0.1", "peer_port": between.ports[1]})
    between.connect(near.port, far.port)
    (near.folder / "near-log").mkdir()
    write_latency(load_box_config(near.config)[0], 480, 960)  # as an earlier `--measure-latency` found it
    far.start(wait=False)
    near.start().until_playing()
    time.sleep(4)
    seen, far_seen = status_of(near), status_of(far)
    assert seen["state"] == far_seen["state"] == "playing"
    assert (seen["latency_ms"], seen["network_latency_ms"]) == (10.0, 20.0)
    assert (far_seen["latency_ms"], far_seen["network_latency_ms"]) == (None, None)
    assert seen["round_trip_ms"] is None or seen["round_trip_ms"] > 0
    assert seen["session"]["wire"] == "rtp, encrypted"
    assert seen["packets"]["concealed"] == sum(count for rung, count in seen["rungs"].items() if rung != "received") > 0
    assert sum(seen["deadline"]) > 0
    assert seen["causes"]["network_lost"] > 0
    assert far_seen["causes"]["network_lost"] > 0  # it has no page: its memory tells
    assert "continuo_played_packets_total" in ask(port, "/metrics")
    assert "What was played" in ask(port, "/")
    assert near.stop() == 0
    assert far.stop() == 0

    log = read_timing_folder(near.folder / "near-log").log
    facts = dropout_facts(log)
    assert facts["dropouts"]["network_lost"]["packets"] >= seen["causes"]["network_lost"]
    assert facts["inter_arrival_us"]["count"] > 500

    takes = sorted((tmp_path / "takes").glob("*_trace.txt"))
    name = str(takes[0]).removesuffix("_trace.txt")
    received, played = (read_audio(f"{name}_{what}.flac").samples for what in ("received", "played"))
    lost = read_trace(takes[0])
    assert sum(read_trace(take).sum() for take in takes) >= seen["packets"]["concealed"]
    missed = np.flatnonzero(log.rows["deadline_missed"])  # a busy machine: from there on the box played worse
    whole = 128 * min([len(lost), *missed.tolist()])
    again = simulate(Audio(received, 48_000, "PCM_24", "FLAC"), lost, "lpc", 128).concealed
    np.testing.assert_allclose(again[:whole], played[:whole], atol=2**-22)
    assert whole > 0
