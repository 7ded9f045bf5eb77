import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from continuo.firmware_py.box.memory import BoxMemory
from continuo.firmware_py.box.place import Place, mark_of
from continuo.firmware_py.control.config import StatusConfig, load_box_config
from continuo.firmware_py.control.status import SessionFacts
from continuo.firmware_py.control.status_collector import StatusCollector
from continuo.firmware_py.methods import METHODS
from continuo.firmware_py.net.counters import NetCounter, PeerState, new_counters
from continuo.firmware_py.rt.counters import AudioCounter, new_audio_counters

TOKEN = "a-token-of-16-or-more"
PROGRAM = "from continuo.firmware_py.cli import main; main()"


@pytest.fixture
def box(tmp_path):
    path = tmp_path / "box.toml"
    path.write_text("[net]\ninsecure = true\nname = 'studio b'\n")
    return path


@pytest.fixture
def memory(box):
    """The shared memory of a box that plays, with this process in its place."""
    config, _ = load_box_config(box)
    place = Place(box)
    memory = BoxMemory(place.memory, config.stream.spec, METHODS[config.conceal.method], create=True)
    place.write_marks("test", {"audio": mark_of(os.getpid())})
    memory.audio[AudioCounter.HEARTBEAT_AUDIO] = time.monotonic_ns() + 10**12  # alive for the whole test
    memory.audio[AudioCounter.PLAYED] = 1234
    memory.audio[AudioCounter.CAUSE_NETWORK_LOST] = 7
    memory.net[NetCounter.PEER_STATE] = PeerState.PLAYING
    yield memory
    place.remove()


@pytest.fixture
def page():
    module = pytest.importorskip("continuo.firmware_py.control.page")
    audio, net = new_audio_counters(), new_counters()
    facts = SessionFacts("studio b", 48_000, 128, 1, "lpc", "rtp", "whoever calls")
    with module.StatusPage(StatusConfig(token=TOKEN), StatusCollector(facts, audio, net)) as page:
        yield page


def test_from_the_memory(continuo, box, memory):
    code, out, err = continuo("status", "--config", box)
    assert (code, err) == (0, "")
    assert out.startswith("playing  in ")
    assert out.count("\n") == 1
    code, out, _ = continuo("status", "--config", box, "--json")
    assert code == 0
    assert json.loads(out)["packets"]["played"] == 1234
    assert json.loads(out)["session"]["name"] == "studio b"
    assert json.loads(out)["causes"]["network_lost"] == 7
    code, out, err = continuo("status", "--config", box, "--set", "stream.packet_samples=256")
    assert (code, out) == (2, "")
    assert "another configuration" in err


def test_from_the_page(continuo, box, page, monkeypatch):
    for arguments in (
        ["--url", f"http://127.0.0.1:{page.port}/", "--token", TOKEN],
        ["--config", box, "--set", f"status.port={page.port}", "--set", f"status.token={TOKEN}"],
        ["--config", box, "--set", f"status.port={page.port}", "--set", f"status.token={TOKEN}",
         "--set", "status.host=0.0.0.0"],
    ):  # fmt: skip
        code, out, err = continuo("status", *arguments)
        assert (code, err) == (0, "")
        assert out.startswith("starting")
    monkeypatch.setenv("CONTINUO_TOKEN", TOKEN)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert json.loads(continuo("status", "--url", f"http://127.0.0.1:{page.port}", "--json")[1])["state"] == "starting"


def test_a_box_that_does_not_run(continuo, box):
    code, out, err = continuo("status", "--config", box)
    assert (code, out) == (4, "")
    assert err == f"continuo: no box runs from {box}: start it with `continuo run --config {box}`\n"
    place = Place(box)
    assert list(place.folder.iterdir()) == []  # nothing was left there
    place.folder.rmdir()


class SomethingElse(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[1, 2]")

    def log_message(self, *arguments):
        pass


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        ([], 2, "exactly one of --config BOX.toml and --url"),
        (["--url", "http://127.0.0.1:{port}", "--token", "wrong"], 2, "wants another token"),
        (["--url", "http://127.0.0.1:{port}"], 2, "wants another token"),
        (["--url", "http://127.0.0.1:{port}/nowhere", "--token", TOKEN], 4, "answers 404: is it a Continuo box?"),
        (["--url", "http://127.0.0.1:1"], 4, "no box answers at http://127.0.0.1:1"),
        (["--url", "127.0.0.1:1"], 2, "write it with http:// in front"),
        (["--url", "http://127.0.0.1:x"], 2, "write it like http://"),
        (["--url", "http://127.0.0.1:{other}"], 4, "something else than a Continuo box"),
    ],
)
def test_wrong_input_is_one_line_and_a_code(continuo, page, arguments, code, says):
    with ThreadingHTTPServer(("127.0.0.1", 0), SomethingElse) as other:
        threading.Thread(target=other.serve_forever, args=(0.02,), daemon=True).start()
        filled = [text.format(port=page.port, other=other.server_port) for text in arguments]
        got, out, err = continuo("status", *filled)
        other.shutdown()
    assert (got, out) == (code, "")
    assert says in err
    assert err.count("\n") == 1


def test_on_a_terminal_the_line_follows_the_box_until_ctrl_c(box, memory):
    master, slave = pty.openpty()
    command = [sys.executable, "-c", PROGRAM, "status", "--config", box]
    environment = os.environ | {"COLUMNS": "100"}
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=environment, start_new_session=True) as process:
        os.close(slave)
        shown = ""
        while "playing" not in shown:
            shown += os.read(master, 4096).decode()
        memory.net[NetCounter.PEER_STATE] = PeerState.STOPPED
        while "peer stopped" not in shown:
            shown += os.read(master, 4096).decode()
        os.kill(process.pid, signal.SIGINT)
        with contextlib.suppress(OSError):  # Linux: the other end was closed
            while more := os.read(master, 4096).decode():
                shown += more
        assert process.wait(30) == 0
    os.close(master)
    lines = shown.rstrip("\r\n").split("\r")[1:]
    assert all(len(line) == 99 for line in lines)
    assert "\n" not in "".join(lines)
