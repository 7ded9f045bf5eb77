import json
import socket

import pytest

KEY = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNk"


@pytest.fixture
def box(tmp_path, timed_cards):
    """Lines for a box whose every part is there."""
    timed_cards.add("card", description="A card")
    path = tmp_path / "box.toml"
    path.write_text(
        f"[audio]\ndevice = 'a card'\npriority = 10\nperiods = 4\n[stream]\npacket_samples = 512\n"
        f"[net]\nkey = '{KEY}'\npeer_host = 'localhost'\nlocal_port = 0\n[log]\nfolder = '{tmp_path}/log/here'\n"
    )
    return path


def findings(out):
    return {finding["name"]: finding for finding in json.loads(out)}


def test_a_box_that_can_play(continuo, box):
    code, out, err = continuo("doctor", "--config", box)
    assert err == ""
    lines = {line[6:26].strip(): (line[:4].strip(), line[26:]) for line in out.splitlines()}
    assert list(lines) == [
        "real-time priority",
        "locked memory",
        "kernel",
        "timers",
        "CPU governor",
        "CPUs",
        "sound device",
        "port",
        "peer",
        "wire",
        "network runtime",
        "concealment",
        "log folder",
    ]
    assert lines["sound device"][1].startswith("card: 48000 Hz, S32_LE, 4 x 512 samples; ")
    assert lines["peer"][1] == "localhost is 127.0.0.1, port 4464"
    assert lines["wire"] == ("ok", "rtp, encrypted")
    assert lines["concealment"][1].startswith("lite-int8: predicts in ")
    assert ", refines in " in lines["concealment"][1]
    assert code == (3 if "fail" in [verdict for verdict, _ in lines.values()] else 0)


def test_everything_is_wrong(continuo, box):
    """Each failure says what to do, and exit code and JSON tell programs."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as taken:
        taken.bind(("::", 0))
        settings = (
            "audio.device=nowhere",
            "audio.priority=0",
            "audio.cpu=1000",
            "net.peer_host=nowhere.invalid",
            f"net.local_port={taken.getsockname()[1]}",
            "net.key=",
            "net.insecure=true",
            f"log.folder={box}/log",
        )
        options = [part for setting in settings for part in ("--set", setting)]
        code, out, _ = continuo("doctor", "--config", box, "--json", *options)
    found = findings(out)
    assert code == 3
    assert {name for name, finding in found.items() if finding["verdict"] == "fail"} == {
        *("sound device", "peer", "port", "log folder")
    }
    assert found["real-time priority"]["remedy"] == "set audio.priority = 60"
    assert "no device to capture from is called 'nowhere': connect it" in found["sound device"]["says"]
    assert "check the name and the network" in found["peer"]["says"]
    assert "choose another net.local_host or net.local_port" in found["port"]["says"]
    assert found["CPUs"]["remedy"] == "set audio.cpu to one of them, or to -1"
    assert (found["wire"]["verdict"], found["wire"]["says"]) == ("warn", "rtp without encryption")


def test_a_network_too_slow_for_the_packets(continuo, box):
    """Packets of a third of a millisecond: nothing refines that fast."""
    settings = ("stream.packet_samples=32", "stream.sample_rate_hz=96000", "stream.channels=8", "audio.device=none")
    options = [part for setting in settings for part in ("--set", setting)]
    _, out, _ = continuo("doctor", "--config", box, "--json", *options)
    found = findings(out)["concealment"]
    assert found["verdict"] == "warn"
    assert "set stream.packet_samples higher" in found["remedy"]


def test_a_format_that_the_device_has_not(continuo, box, timed_cards):
    timed_cards.add("cd", rate=44_100)
    _, out, _ = continuo("doctor", "--config", box, "--json", "--set", "audio.device=cd")
    assert "cd cannot capture 48000 Hz (set stream.sample_rate_hz" in findings(out)["sound device"]["says"]


def test_two_cards_have_two_clocks(continuo, box, timed_cards):
    timed_cards.add("microphone")
    _, out, _ = continuo("doctor", "--config", box, "--json", "--set", "audio.capture_device=microphone")
    found = findings(out)["sound device"]
    assert found["verdict"] == "warn"
    assert "two clocks" in found["says"] or "audio.periods" in found["remedy"]  # an xrun of a busy machine comes first


def test_without_a_configuration(continuo, timed_cards):
    _, out, err = continuo("doctor", "--json")
    assert err == ""
    found = findings(out)
    assert "'default'" in found["sound device"]["says"]
    assert not {"peer", "wire"} & set(found)


def test_a_configuration_that_is_none(continuo, tmp_path):
    code, out, err = continuo("doctor", "--config", tmp_path / "nowhere.toml")
    assert (code, out) == (2, "")
    assert "there is no such file" in err
