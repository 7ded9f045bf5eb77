import pytest

from continuo.firmware_py.audio.alsa import Direction, hints, open_pcm, release
from continuo.firmware_py.audio.devices import find_device, list_devices
from continuo.firmware_py.audio.negotiation import Offer, PeriodSettings, converting_name, open_exactly, probe
from continuo.firmware_py.errors import InputError, MissingError, RunError
from continuo.firmware_py.rt.spec import StreamSpec

CAPTURE, PLAYBACK = Direction.CAPTURE, Direction.PLAYBACK


SPEC, SETTINGS = StreamSpec(48_000, 128, 1), PeriodSettings(128, 2)


def refusal(name, spec=SPEC, settings=SETTINGS, direction=CAPTURE):
    with pytest.raises(InputError) as error:
        open_exactly(name, direction, spec, settings)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("has", "spec", "settings", "says"),
    [
        ({"rate": 44_100}, (48_000, 128, 1), (128, 2), ["cannot capture 48000 Hz", "it offers 44100 Hz"]),
        ({"channels": 2}, (48_000, 128, 1), (128, 2), ["1 channel (set stream.channels", "2 channels", "plug:card"]),
        ({"channels": 2}, (48_000, 128, 8), (128, 2), ["8 channels (set stream.channels"]),
        ({"format": "FLOAT_LE"}, (48_000, 128, 1), (128, 2), ["S32_LE, S24_3LE, S24_LE, S16_LE", "plug:card"]),
        ({"period_bytes": 1024}, (48_000, 128, 1), (128, 2), ["periods of 128 samples, the nearest is 256"]),
        ({}, (48_000, 128, 1), (100_000, 2), ["periods of 100000 samples", "periods of 16 to 16384 samples"]),
        ({}, (48_000, 128, 1), (128, 40), ["40 periods, the nearest is 32 (set audio.periods)"]),
        ({"rate": 96_000, "channels": 2}, (48_000, 128, 1), (128, 2), ["48000 Hz", "; 1 channel"]),
    ],
)
def test_what_it_has_not_is_refused_with_what_it_offers(timed_cards, has, spec, settings, says):
    """pyalsaaudio alone would settle for something near, in silence."""
    timed_cards.add("card", **has)
    for direction in Direction:
        text = refusal("card", StreamSpec(*spec), PeriodSettings(*settings), direction)
        for part in says:
            assert part.replace("capture", {CAPTURE: "capture", PLAYBACK: "play"}[direction]) in text


@pytest.mark.parametrize(
    ("has", "chosen"), [({}, "S32_LE"), ({"format": "S24_3LE"}, "S24_3LE"), ({"format": "S16_LE"}, "S16_LE")]
)
def test_the_best_format_that_it_has(timed_cards, has, chosen):
    timed_cards.add("card", **has)
    pcm, pcm_format = open_exactly("card", PLAYBACK, StreamSpec(48_000, 128, 2), PeriodSettings(128, 2))
    release(pcm)
    assert pcm_format.name == chosen


@pytest.mark.parametrize("has", [{"channels": 2}, {"format": "FLOAT_LE"}, {"channels": 2, "format": "S16_LE"}])
def test_alsa_converts_where_the_refusal_says_so(timed_cards, has):
    timed_cards.add("card", **has)
    assert '"plug:card"' in refusal("card") or has == {"format": "S16_LE"}
    pcm, pcm_format = open_exactly("plug:card", CAPTURE, StreamSpec(48_000, 128, 1), PeriodSettings(128, 2))
    release(pcm)
    assert pcm_format.name == "S32_LE"


def test_the_name_behind_alsas_conversions():
    assert converting_name("hw:CARD=USB,DEV=0") == "plughw:CARD=USB,DEV=0"
    assert converting_name("mixer") == "plug:mixer"


def test_what_a_device_offers(timed_cards):
    timed_cards.add("any")
    timed_cards.add("cd", rate=44_100, channels=2, format="S16_LE", period_bytes=512)
    offer = probe("any", CAPTURE)
    assert offer.rates_text == "8000-192000"
    assert offer.usual_rates_hz == (22_050, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000)
    assert offer.channels_text == "1-8"
    assert offer.formats_text == "S32_LE, S24_3LE, S24_LE, S16_LE"
    assert probe("cd", PLAYBACK) == Offer((44_100,), False, (2,), ("S16_LE",), 128, 128)
    assert Offer((44_100, 48_000), False, (2, 4), ("FLOAT_LE",), 1, 2).channels_text == "2, 4"
    assert Offer((44_100, 48_000), False, (2, 4), ("FLOAT_LE",), 1, 2).rates_text == "44100, 48000"
    assert Offer((44_100, 48_000), False, (2, 4), ("FLOAT_LE",), 1, 2).usual_rates_hz == (44_100, 48_000)
    assert Offer((44_100, 48_000), False, (2, 4), ("FLOAT_LE",), 1, 2).formats_text == "FLOAT_LE"


def test_alsa_says_nothing_of_its_own(timed_cards, capfd):
    with pytest.raises(MissingError, match="there is no such sound device: `continuo devices` lists"):
        open_pcm("hw:CARD=nowhere", CAPTURE)
    assert capfd.readouterr() == ("", "")


def test_in_use(timed_cards):
    timed_cards.add("card")
    first = open_pcm("card", CAPTURE)
    try:
        with pytest.raises(RunError, match="another program uses it"):
            open_pcm("card", CAPTURE)
    finally:
        release(first)
    release(open_pcm("card", CAPTURE))


def test_what_keeps_no_time_is_no_device(timed_cards):
    assert "null is no sound device" in refusal("null")


def test_hints(timed_cards):
    timed_cards.add("card", description="Scarlett, first generation")
    found = {hint.name: hint for hint in hints()}
    assert found["card"].description == "Scarlett, first generation"
    assert found["card"].directions == (PLAYBACK, CAPTURE)


def test_by_name_or_a_part_of_it(timed_cards):
    timed_cards.add("scarlett", description="Focusrite USB")
    timed_cards.add("behringer", description="UMC USB")
    assert find_device("scarlett", CAPTURE) == "scarlett"
    assert find_device("SCAR", CAPTURE) == "scarlett"
    assert find_device("focusrite", PLAYBACK) == "scarlett"
    assert find_device("plug:scarlett", PLAYBACK) == "plug:scarlett"
    with pytest.raises(InputError, match="'USB' may be scarlett or behringer: write more of the name"):
        find_device("USB", CAPTURE)
    with pytest.raises(MissingError, match="called 'Motu': connect it, or choose another"):
        find_device("Motu", CAPTURE)


def test_listed_devices(timed_cards):
    timed_cards.add("scarlett", description="Focusrite USB")
    timed_cards.add("behringer").unplug()
    listed = {device.name: device for device in list_devices()}
    assert "behringer" not in listed
    assert "null" not in listed
    assert listed["scarlett"].description == "Focusrite USB"
    assert set(listed["scarlett"].offers) == {CAPTURE, PLAYBACK}
    everything = {device.name: device for device in list_devices(everything=True)}
    assert "no such sound device" in everything["behringer"].troubles[CAPTURE]
    assert "no sound device" in everything["null"].troubles[CAPTURE]
