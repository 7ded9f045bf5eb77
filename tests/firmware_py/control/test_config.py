import base64
import re
import tomllib
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from continuo.firmware_py.control.config import (
    BoxConfig,
    StatusConfig,
    effective_values,
    is_secret,
    load_box_config,
    parse_overrides,
)
from continuo.firmware_py.errors import InputError
from continuo.firmware_py.rt.spec import StreamSpec

KEY = base64.b64encode(bytes(30)).decode()
TOKEN = "a-token-of-16-or-more"


def load(tmp_path, text, **overrides):
    path = tmp_path / "box.toml"
    path.write_text(text)
    return load_box_config(path, {"net.insecure": True} | {name.replace("__", "."): v for name, v in overrides.items()})


def test_defaults_file_and_command_line_and_where_each_came_from(tmp_path):
    config, origins = load(
        tmp_path, "[audio]\ndevice = 'hw:1'\nperiods = 3\n[playout]\ntightness = 1\n", audio__periods=4
    )
    assert (config.audio.device, config.audio.periods, config.audio.priority) == ("hw:1", 4, 60)
    assert config.playout.tightness == 1.0
    assert isinstance(config.playout.tightness, float)
    assert config.stream.spec == StreamSpec(48_000, 128, 1)
    assert origins["audio.device"] == origins["playout.tightness"] == "file"
    assert origins["audio.periods"] == origins["net.insecure"] == "command line"
    assert origins["audio.priority"] == "default"
    assert len(origins) == sum(len(fields(section.type)) for section in fields(BoxConfig))


def test_nothing_of_it_can_be_changed():
    config, _ = load_box_config(None, {"net.key": KEY})
    for section in fields(config):
        with pytest.raises(FrozenInstanceError):
            setattr(config, section.name, None)
        part = getattr(config, section.name)
        with pytest.raises(FrozenInstanceError):
            setattr(part, fields(part)[0].name, None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[adio]\n", "box.toml: [adio] is unknown: choose from stream, audio, net, playout, conceal, log, status, rec"),
        ("[audio]\ndevise = ''\n", "box.toml: audio.devise is unknown: choose from device, capture_device"),
        ("[net]\nhots = ''\n", "box.toml: net.hots is unknown: choose from peer_host"),
        ("record = true\n", "box.toml: record is a value: write a section [record]"),
        ("[[audio]]\n", "box.toml: audio is a value: write a section [audio]"),
        ("[audio\n", "box.toml: cannot be read as TOML: "),
        ("[stream]\nsample_rate_hz = 8000\n", "stream.sample_rate_hz is 8000: choose from 22050 to 96000"),
        ("[stream]\nchannels = 1.5\n", "stream.channels is float: write a whole number"),
        ("[stream]\nchannels = true\n", "stream.channels is bool: write a whole number"),
        ("[audio]\ndevice = 1\n", "audio.device is int: write text"),
        ("[audio]\ndevice = ''\n", "audio.device is empty: write default"),
        ("[audio]\nperiods = 1\n", "audio.periods is 1: choose from 2 to 16"),
        ("[audio]\nperiod_samples = 5\n", "audio.period_samples is 5: choose from 16 to 4096 (or 0: a packet's)"),
        ("[audio]\npriority = 99\n", "audio.priority is 99: choose from 0 to 95"),
        ("[playout]\ntightness = 1.1\n", "playout.tightness is 1.1: choose from 0 to 1"),
        ("[playout]\ntightness = nan\n", "playout.tightness is nan: choose from 0 to 1"),
        ("[playout]\ntightness = 'safe'\n", "playout.tightness is str: write a number"),
        ("[playout]\nfixed_packets = 65\n", "playout.fixed_packets is 65: choose from -1 to 64"),
        ("[playout]\ndrift = 0\n", "playout.drift is int: write true or false"),
        ("[conceal]\nmethod = 'magic'\n", "conceal.method is 'magic': choose from zero, repeat"),
        ("[log]\nmax_mb = 0\n", "log.max_mb is 0: choose from 1 to 1000000"),
        ("[status]\nport = 80\n", "status.token is missing: make one with"),
        ("[status]\nport = 80\ntoken = 'short'\n", "status.token has 5 characters, not 16: make one"),
        ("[status]\ntoken = 'sixteen letters and a space'\n", "status.token has a space"),
        ("[status]\nhost = 'here'\n", "status.host is 'here': write an address"),
        ("[record]\nenabled = true\n", "record.folder is missing: name a folder"),
        ("[net]\npeer_port = 0\n", "net.peer_port is 0: choose from 1 to 65535"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(tmp_path, text, says):
    with pytest.raises(InputError) as error:
        load(tmp_path, text)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match=r"there is no such file: write one, or begin with `continuo config show`"):
        load_box_config(tmp_path / "none.toml")
    with pytest.raises(InputError, match="cannot be read as TOML: Is a directory"):
        load_box_config(tmp_path)
    (tmp_path / "latin.toml").write_bytes(b"[net]\nname = '\xe9'\n")
    with pytest.raises(InputError, match="cannot be read as TOML"):
        load_box_config(tmp_path / "latin.toml")


def test_assignments_of_the_command_line():
    texts = ["audio.device=hw:1,0", "net.name = 'a b'", "playout.drift=false", "net.peer_port=5000", "audio.cpu=-1"]
    assert parse_overrides([*texts, "audio.playback_device=1"]) == {
        "audio.device": "hw:1,0", "net.name": "a b", "playout.drift": False, "net.peer_port": 5000, "audio.cpu": -1,
        "audio.playback_device": "1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("audio.periods", "write section.key=value"),
        ("periods=3", "write section.key=value"),
        ("audio.perids=3", "audio.perids is unknown: choose from device"),
        ("oudio.periods=3", r"\[oudio\] is unknown: choose from stream"),
        ("audio.periods=three", "--set audio.periods=three: write a whole number"),
        ("playout.drift=yes", "--set playout.drift=yes: write true or false"),
        ("playout.drift=true\nx = 1", "write section.key=value"),
    ],
)
def test_assignments_that_are_none(text, says):
    with pytest.raises(InputError, match=says):
        parse_overrides([text])


def test_secrets_are_in_no_text():
    config, _ = load_box_config(None, {"net.key": KEY, "status.token": TOKEN})
    assert KEY not in repr(config)
    assert TOKEN not in repr(config)
    assert is_secret("net", "key")
    assert is_secret("status", "token")
    assert not is_secret("net", "key_file")
    assert StatusConfig(token=TOKEN).token == TOKEN


def test_values_of_a_configuration_that_is_not_complete():
    values, origins = effective_values()
    assert values["net"]["key_file"] == ""
    assert set(origins.values()) == {"default"}
    assert tomllib.loads("\n".join(f"[{section}]" for section in values)) == {section: {} for section in values}


DOCS = Path(__file__).parents[3] / "docs" / "box.md"


def test_the_documented_file_has_every_key_with_its_default():
    short, whole = (tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", DOCS.read_text(), re.DOTALL))
    assert whole == effective_values()[0]
    assert all(key in whole[section] for section, table in short.items() for key in table)
