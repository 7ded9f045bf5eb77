import base64
import os

import pytest

from continuo.firmware_py.errors import InputError, MissingError
from continuo.firmware_py.net import srtp
from continuo.firmware_py.net.config import NetConfig
from continuo.firmware_py.net.jacktrip import JackTripWire
from continuo.firmware_py.net.make_wire import make_wire
from continuo.firmware_py.net.rtp_wire import RtpWire


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, "net.key_file is missing"),
        ({"hots": "x"}, "net.hots is unknown: choose from peer_host"),
        ({"peer_port": "4464"}, "net.peer_port is str: write a whole number"),
        ({"insecure": 1}, "net.insecure is int: write true or false"),
        ({"peer_host": 5}, "net.peer_host is int: write text"),
        ({"peer_port": 0}, "net.peer_port is 0: choose from 1 to 65535"),
        ({"redundancy": 9}, "net.redundancy is 9: choose from 0 to 8"),
        ({"bits": 20}, "net.bits is 20: choose 16 or 24"),
        ({"wire": "aoo"}, "net.wire is 'aoo': choose from rtp, jacktrip-p2p, jacktrip-hub"),
        ({"wire": "jacktrip-p2p"}, "has no encryption: set net.insecure = true"),
        ({"wire": "jacktrip-p2p", "insecure": True, "key": "eA=="}, "uses no key"),
        ({"wire": "jacktrip-hub", "insecure": True}, "net.peer_host is missing"),
        ({"insecure": True, "key": "eA=="}, "remove one of them"),
        ({"key": "eA==", "key_file": "x"}, "keep one"),
        ({"key": "eA=="}, "net.key holds 1 bytes, not 30: make one"),
        ({"key": "%%"}, "net.key is not base64: make one"),
        ({"key_file": "/nowhere/key"}, "net.key_file /nowhere/key: No such file"),
        ({"local_host": "here", "insecure": True}, "net.local_host is 'here'"),
        ({"payload_type": 127, "redundancy": 1, "insecure": True}, "net.payload_type is 127"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(table, says):
    with pytest.raises(InputError, match=r"^net\.") as error:
        NetConfig.from_mapping(table)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_key_file(tmp_path, key):
    file = tmp_path / "key"
    file.write_text(key[:20] + "\n" + key[20:] + "\n")
    file.chmod(0o600)
    assert NetConfig(key_file=str(file)).secret == bytes(range(30))
    file.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        NetConfig(key_file=str(file))
    file.chmod(0o600)
    file.write_bytes(b"\xff")
    with pytest.raises(InputError, match="not base64"):
        NetConfig(key_file=str(file))


def test_the_key_is_not_shown():
    text = base64.b64encode(os.urandom(30)).decode()
    assert text not in repr(NetConfig(key=text))


def test_the_wire_that_is_asked_for(key):
    assert isinstance(make_wire(NetConfig(key=key)), srtp.SrtpWire)
    assert isinstance(make_wire(NetConfig(insecure=True)), RtpWire)
    assert isinstance(make_wire(NetConfig(wire="jacktrip-p2p", insecure=True)), JackTripWire)


def test_a_missing_library_is_said(key, monkeypatch):
    monkeypatch.setattr(srtp, "_MISSING", ImportError())
    with pytest.raises(MissingError, match=r"continuo-nmp\[box\]"):
        make_wire(NetConfig(key=key))
