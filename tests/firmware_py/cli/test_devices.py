import json

from continuo.firmware_py.audio.alsa import Direction, open_pcm, release


def test_what_there_is(continuo, timed_cards):
    timed_cards.add("scarlett", description="Focusrite USB", channels=2)
    timed_cards.add("cd", rate=44_100, channels=1, format="S16_LE", period_bytes=512)
    code, out, err = continuo("devices")
    assert (code, err) == (0, "")
    assert (
        "scarlett  Focusrite USB\n"
        "  playback  8000-192000 Hz; 2 channels; S32_LE, S24_3LE, S24_LE, S16_LE; periods of 8 to 8192 samples\n"
        "  capture   8000-192000 Hz; 2 channels; S32_LE, S24_3LE, S24_LE, S16_LE; periods of 8 to 8192 samples\n"
    ) in out
    assert "  playback  44100 Hz; 1 channel; S16_LE; periods of 256 samples\n" in out
    assert "null" not in out


def test_as_json(continuo, timed_cards):
    timed_cards.add("cd", rate=44_100, channels=2, format="S16_LE", period_bytes=512, description="A player")
    timed_cards.add("away").unplug()
    code, out, _ = continuo("devices", "--json")
    assert code == 0
    (found,) = [device for device in json.loads(out) if device["name"] in {"cd", "away"}]
    offer = {
        "rates_hz": [44_100],
        "rates_are_range": False,
        "channels": [2],
        "formats": ["S16_LE"],
        "period_samples": [128, 128],
    }
    assert found == {"name": "cd", "description": "A player", "playback": offer, "capture": offer}
    code, out, _ = continuo("devices", "--json", "--all")
    away = {device["name"]: device for device in json.loads(out)}["away"]
    assert "there is no such sound device" in away["capture"]["trouble"]


def test_in_use(continuo, timed_cards):
    timed_cards.add("card")
    code, out, _ = continuo("devices")
    assert "another program uses it" not in out

    pcm = open_pcm("card", Direction.CAPTURE)
    code, out, _ = continuo("devices")
    release(pcm)
    assert code == 0
    assert "capture   card cannot be opened for capture: another program uses it" in out


def test_none(continuo, timed_cards):
    code, out, err = continuo("devices")
    assert (code, out) == (3, "")
    assert err.startswith("continuo: there is no sound device: connect one")
