import json
import tomllib

import pytest

from continuo.firmware_py.control.config import effective_values, load_box_config

TOKEN = "a-token-of-16-or-more"


@pytest.fixture
def box(tmp_path):
    path = tmp_path / "box.toml"
    path.write_text(f"[net]\ninsecure = true\nname = \"a 'b' \\\\ é\"\n[status]\nport = 8080\ntoken = '{TOKEN}'\n")
    return path


def test_the_defaults_are_a_file_to_begin_with(continuo, tmp_path):
    code, out, err = continuo("config", "show")
    assert code == 0
    assert err.startswith("continuo: these are the defaults, a box needs more: net.key_file is missing: make one")
    assert err.count("\n") == 1
    assert tomllib.loads(out) == effective_values()[0]
    (tmp_path / "box.toml").write_text(out.replace("insecure = false", "insecure = true "))
    config, origins = load_box_config(tmp_path / "box.toml")
    assert set(origins.values()) == {"file"}
    assert config == load_box_config(None, {"net.insecure": True})[0]


def test_each_value_and_where_it_came_from(continuo, box):
    code, out, err = continuo("config", "show", "--config", box, "--set", "audio.device=hw:1", "--set", "net.bits=24")
    assert (code, err) == (0, "")
    assert tomllib.loads(out)["net"]["name"] == "a 'b' \\ é"
    lines = {line.split(" = ")[0]: line.split() for line in out.splitlines()}
    assert lines["device"][2:] == ['"hw:1"', "#", "command", "line"]
    assert lines["bits"][2:] == ["24", "#", "command", "line"]
    assert lines["port"][2:] == ["8080", "#", "file"]
    assert lines["tightness"][2:] == ["0.5", "#", "default"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_secrets_stay_hidden(continuo, box, options):
    code, out, _ = continuo("config", "show", "--config", box, *options)
    assert code == 0
    assert TOKEN not in out
    assert "(hidden)" in out


def test_as_json(continuo, box):
    code, out, _ = continuo("config", "show", "--config", box, "--json")
    assert code == 0
    assert json.loads(out)["net"]["insecure"] == {"value": True, "from": "file"}
    assert json.loads(out)["net"]["key"] == {"value": "", "from": "default"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--set", "audio.periods=1"], "audio.periods is 1: choose from 2 to 16"),
        (["--set", "audio.periods"], "write section.key=value"),
        (["--config", "nowhere.toml"], "there is no such file"),
        (["show"], "unexpected"),
    ],
)
def test_wrong_input_is_one_line_and_a_code(continuo, options, says):
    code, out, err = continuo("config", "show", *options)
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1
