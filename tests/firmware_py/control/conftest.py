import base64
import contextlib
import json
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest

from continuo.firmware_py.control.status import SessionFacts
from continuo.firmware_py.control.status_collector import StatusCollector
from continuo.firmware_py.net.counters import NetCounter, PeerState, new_counters
from continuo.firmware_py.rt.counters import RUNG_COUNTERS_FROM, AudioCounter, new_audio_counters
from continuo.firmware_py.rt.timing import BOX_TIMING_DTYPE, Cause, Rung

PACKET_NS = 2_666_667


class Box:
    """The counters of a box of 128 samples at 48 kHz, as its processes would write them, and its clock."""

    def __init__(self):
        self.audio, self.net = new_audio_counters(), new_counters()
        self.audio[AudioCounter.TIGHTNESS_MILLIONTHS] = -1
        self.ahead_ns = 0
        self.beats = False
        self.note = ""
        facts = SessionFacts("studio b", 48_000, 128, 2, "lpc", "rtp, encrypted", "studio-a.example:4464", 0.5)
        self.collector = StatusCollector(facts, self.audio, self.net, notes=[lambda: self.note], clock_ns=self.clock_ns)

    def clock_ns(self):
        now_ns = time.monotonic_ns() + self.ahead_ns
        if self.beats:
            self.audio[AudioCounter.HEARTBEAT_AUDIO] = now_ns
        return now_ns

    def begin(self):
        self.audio[AudioCounter.STARTED_NS] = self.clock_ns()
        self.net[NetCounter.PEER_STATE] = PeerState.PLAYING
        self.beats = True

    def add(self, **counts):
        """Count up; names of either enum in lower case."""
        for name, count in counts.items():
            if name.upper() in AudioCounter.__members__ and name not in {"received"}:
                self.audio[AudioCounter[name.upper()]] += count
            else:
                self.net[NetCounter[name.upper()]] += count

    def play(self, packets=375, lost=0, late=0, rung=Rung.LPC, second=True, share=0.02):
        """Play packets, and let their second pass."""
        self.add(played=packets, lost_network=lost, late=late, concealed=lost + late, received=packets - lost)
        self.audio[AudioCounter.RECEIVED] += packets - lost
        self.audio[RUNG_COUNTERS_FROM + rung] += lost + late
        rows = np.zeros(packets, BOX_TIMING_DTYPE)
        rows["lost"][: lost + late] = 1
        rows["cause"][:lost], rows["cause"][lost : lost + late] = Cause.NETWORK_LOST, Cause.NETWORK_LATE
        rows["total_ns"] = share * PACKET_NS
        rows["deadline_margin_ns"] = PACKET_NS - rows["total_ns"]
        rows["deadline_missed"] = share > 1
        self.collector.take(rows, 0)
        if second:
            self.ahead_ns += 1_000_000_000
            self.collector.sample()


@pytest.fixture
def box():
    return Box()


# Debian's chromium is started as root in a container: no sandbox; and it must talk to nobody but the page.
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
]  # fmt: skip
PATIENCE_S = 30


class Browser:
    """Chromium without a window, driven through ChromeDriver in the W3C WebDriver protocol."""

    def __init__(self, folder, *flags):
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            start_new_session=True,
        )  # fmt: skip
        self._session = ""
        try:
            for line in self._driver.stdout:
                if found := re.search(r"successfully on port (\d+)", line):
                    self._url = f"http://127.0.0.1:{found[1]}"
                    break
            options = {"args": [*FLAGS, *flags, f"--user-data-dir={folder}"]}
            capabilities = {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": options}}
            self._session = self._call("POST", "/session", {"capabilities": capabilities})["sessionId"]
        except BaseException:
            self._stop()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *error):
        with contextlib.suppress(OSError, AssertionError):
            self._ask("DELETE", "")
        self._stop()

    def _stop(self):
        self._driver.send_signal(signal.SIGTERM)
        self._driver.wait(10)
        self._driver.stdout.close()

    def open(self, url):
        self._ask("POST", "/url", {"url": url})

    @property
    def url(self):
        return self._ask("GET", "/url")

    def run(self, script, *arguments):
        return self._ask("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent ?? null", selector)

    def wait(self, script, *arguments):
        """What the script returns, as soon as it is true."""
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            if value := self.run(script, *arguments):
                return value
            time.sleep(0.05)
        raise AssertionError(f"never came true: {script}; the page says: {self.run('return document.body.innerText')}")

    def type_into(self, selector, text):
        element = self._ask("POST", "/element", {"using": "css selector", "value": selector})
        self._ask("POST", f"/element/{next(iter(element.values()))}/value", {"text": text})

    def emulate(self, **features):
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.devtools("Emulation.setEmulatedMedia", features=media)

    def resize(self, width, height):
        self.devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def devtools(self, command, **parameters):
        return self._ask("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def picture(self, path):
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(shot["data"]))

    def messages(self):
        """What the page complained about in its console."""
        return [entry["message"] for entry in self._ask("POST", "/se/log", {"type": "browser"})]

    def _ask(self, method, path, body=None):
        return self._call(method, f"/session/{self._session}{path}", body)

    def _call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(json.load(error)["value"]["message"]) from None


@pytest.fixture
def browser(tmp_path):
    with Browser(tmp_path / "profile") as browser:
        yield browser
