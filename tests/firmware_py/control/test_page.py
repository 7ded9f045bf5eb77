"""The page over HTTP, and in a real browser."""

import contextlib
import http.client
import json
import shutil
import socket
import threading
import time

import pytest

pytest.importorskip("aiohttp")

from continuo.firmware_py.control.config import StatusConfig
from continuo.firmware_py.control.page import StatusPage
from continuo.firmware_py.errors import RunError
from continuo.firmware_py.net.counters import NetCounter, PeerState
from continuo.firmware_py.rt.counters import AudioCounter
from continuo.firmware_py.rt.timing import Rung

TOKEN = "a-token-of-16-or-more"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
needs_chromium = pytest.mark.skipif(not shutil.which("chromedriver"), reason="chromium-driver is not installed")


@pytest.fixture
def page(box):
    with StatusPage(StatusConfig(token=TOKEN), box.collector) as page:
        yield page


def get(page, path, headers=None, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(method, path, headers=headers or {})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()


@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics", "/events", "/nowhere"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": "Bearer \xe9"},
        {"Cookie": "continuo=x"},
    ],
)
def test_without_the_token_there_is_nothing_to_see(page, path, headers):
    status, got, text = get(page, path, headers)
    assert status == 401
    assert got["WWW-Authenticate"].startswith("Bearer")
    assert "status.token" in text
    assert "script" not in text


def test_a_wrong_token_is_said_to_be_wrong(page):
    status, headers, text = get(page, "/?token=wrong")
    assert status == 401
    assert "That was not it." in text
    assert "Set-Cookie" not in headers


def test_the_token_once_then_a_cookie(page):
    status, headers, _ = get(page, f"/status.json?token={TOKEN}")
    assert (status, headers["Location"]) == (303, "/status.json")
    cookie = headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert f"continuo-{page.port}=" in cookie
    assert TOKEN not in cookie
    status, headers, text = get(page, "/status.json", {"Cookie": cookie.partition(";")[0]})
    assert status == 200
    assert headers["Cache-Control"] == "no-store"
    assert json.loads(text)["state"] == "starting"


@pytest.mark.parametrize("path", ["/", "/status.json", "/metrics"])
def test_the_token_in_a_header(page, path):
    status, headers, text = get(page, path, BEARER)
    assert status == 200
    assert text
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert get(page, path, BEARER, "POST")[0] == 405


def test_the_page_loads_nothing_from_elsewhere(page):
    _, headers, text = get(page, "/", BEARER)
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "src=" not in text


def test_the_stream_goes_on_with_the_counters(page, box):
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", "/events", headers=BEARER)
        response = connection.getresponse()
        assert response.getheader("Content-Type") == "text/event-stream"
        for played in range(5):
            while json.loads(event(response))["packets"]["played"] != played:
                pass
            box.add(played=1)


def post(page, body, content_type="application/json", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
    with contextlib.closing(connection):
        connection.request(
            "POST", "/tightness", body, {"Content-Type": content_type, **(BEARER if headers is None else {})}
        )
        response = connection.getresponse()
        return response.status, response.read().decode()


def test_the_one_control(page, box):
    assert json.loads(get(page, "/status.json", BEARER)[2])["tightness"] == 0.5
    assert post(page, '{"tightness": 0.8}')[0] == 204
    assert box.audio[AudioCounter.TIGHTNESS_MILLIONTHS] == 800_000
    assert json.loads(get(page, "/status.json", BEARER)[2])["tightness"] == 0.8
    assert post(page, '{"tightness": 0.1}', headers={})[0] == 401
    assert post(page, '{"tightness": 0.1}', "text/plain")[0] == 415
    for wrong in ("", "[]", "{}", '{"tightness": "x"}', '{"tightness": null}', "{"):
        assert post(page, wrong)[0] == 400
    for wrong in ("1.5", "-0.1", "NaN"):
        assert post(page, f'{{"tightness": {wrong}}}') == (400, f"tightness is {float(wrong)}: choose from 0 to 1\n")
    assert box.audio[AudioCounter.TIGHTNESS_MILLIONTHS] == 800_000


def event(response):
    line = response.readline().decode()
    assert line.startswith("data: ")
    assert response.readline() == b"\n"
    return line.removeprefix("data: ")


def test_a_page_that_is_open_does_not_hold_up_the_end(box):
    with StatusPage(StatusConfig(token=TOKEN), box.collector) as page:
        connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=30)
        connection.request("GET", "/events", headers=BEARER)
        response = connection.getresponse()
        event(response)
        before_s = time.monotonic()
    assert time.monotonic() - before_s < 10  # not the client's patience: it never closes
    connection.close()
    assert "status-page" not in {thread.name for thread in threading.enumerate()}


def test_an_address_that_cannot_be_had(box):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(RunError, match=rf"127\.0\.0\.1 port {port}: .*change status.host or status.port"),
            StatusPage(StatusConfig(token=TOKEN, port=port), box.collector),
        ):
            pass
    with (
        pytest.raises(RunError, match=r"cannot serve the status page on 192\.0\.2\.1"),
        StatusPage(StatusConfig(token=TOKEN, host="192.0.2.1"), box.collector),
    ):
        pass


@needs_chromium
def test_in_a_browser(page, box, browser, tmp_path):
    home = f"http://127.0.0.1:{page.port}/"
    browser.open(home)
    assert browser.run("return document.activeElement.id") == "token"
    browser.type_into("#token", f"{TOKEN}\n")
    browser.wait("return document.getElementById('state-word')?.textContent === 'starting'")
    assert browser.url == home  # without the token
    assert TOKEN not in browser.run("return document.cookie")

    box.begin()
    for second in range(20):
        box.play(375, lost=second % 3, late=second % 2, rung=Rung.LITE, share=0.02 * (1 + second % 4))
    box.add(round_trip_ns=18_400_000, drift_ppb=-12_345, malformed=3)
    box.audio[AudioCounter.CAPTURE_PEAK] = 500_000
    box.audio[AudioCounter.DEPTH_SAMPLES_NOW] = 240
    browser.wait("return document.getElementById('state-word').textContent === 'playing'")
    browser.wait("return document.getElementById('capture-figure').textContent === '\\u22126.0 dBFS'")
    assert browser.text("#playback-figure") == "silence"
    assert browser.text("[data-value='recent.lost']") == "0.27 %"
    assert browser.text("[data-value='packets.lost']") == "19"
    assert browser.text("[data-value='round_trip_ms']") == "18.4 ms"
    assert browser.text("[data-value='drift_ppm']") == "\N{MINUS SIGN}12.3 ppm"
    assert browser.text("#drift-says") == "peer\N{RIGHT SINGLE QUOTATION MARK}s clock is slower"
    assert browser.text("tr[data-name=lite] td") == "29"
    assert browser.text("tr[data-name=network_lost] td") == "19"
    assert browser.text("tr[data-name=malformed] td") == "3"
    assert len(browser.run("return [...document.querySelectorAll('#history rect')]")) > 15
    assert browser.run("return document.querySelectorAll('#deadline li').length") == 11
    assert browser.run("return document.getElementById('advice').hidden")
    assert browser.run("return document.getElementById('latency-says').hidden")
    box.audio[AudioCounter.NETWORK_CLICK_SAMPLES] = 1200
    browser.wait("return document.getElementById('latency-says').innerText === 'a click took 25.0 ms through the peer'")

    assert browser.run("return document.getElementById('tightness').value") == "0.5"
    browser.run("const it = document.getElementById('tightness'); it.value = 0.8; it.dispatchEvent(new Event('input'))")
    browser.wait("return document.getElementById('tightness').getAttribute('aria-valuetext') === '80 % tight'")
    assert box.audio[AudioCounter.TIGHTNESS_MILLIONTHS] == 800_000

    box.add(xruns_playback=1)
    browser.wait("return document.getElementById('advice').innerText.includes('raise audio.periods')")
    box.net[NetCounter.PEER_STATE] = PeerState.STOPPED
    browser.wait("return document.getElementById('state-word').textContent === 'peer stopped'")
    assert browser.messages()[1:] == []  # the first is the 401 of the visit without a token

    for scheme in ("light", "dark"):
        browser.emulate(prefers_color_scheme=scheme)
        check_contrast(browser)
    for width in (1200, 390):
        browser.resize(width, 900)
        assert browser.run("return document.documentElement.scrollWidth") == width  # nothing sticks out
    browser.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")


CONTRAST = """
const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
const light = (text) => {
  const [r, g, b] = rgb(text).slice(0, 3).map((v) => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (element) => {
  for (let part = element; part; part = part.parentElement) {
    const colour = getComputedStyle(part).backgroundColor;
    if ((rgb(colour)[3] ?? 1) > 0) return colour;
  }
};
const texts = [...document.querySelectorAll("body *")].filter((element) => element.checkVisibility() &&
  [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
return texts.map((element) => {
  const [a, b] = [light(getComputedStyle(element).color), light(behind(element))].sort((x, y) => y - x);
  return [element.textContent.trim(), (a + 0.05) / (b + 0.05)];
});
"""


def check_contrast(browser):
    """WCAG 2.2, 1.4.3: 4.5 to 1 for text."""
    contrasts = browser.run(CONTRAST)
    assert len(contrasts) > 50
    assert [(text, round(ratio, 2)) for text, ratio in contrasts if ratio < 4.5] == []


@needs_chromium
def test_every_part_has_a_name(page, box, browser):
    box.begin()
    box.play()
    browser.open(f"http://127.0.0.1:{page.port}/?token={TOKEN}")
    browser.wait("return document.getElementById('state-word').textContent === 'playing'")
    nodes = browser.devtools("Accessibility.getFullAXTree")["nodes"]
    named = {"img", "image", "meter", "region", "table", "list", "link", "heading"}
    found = [node for node in nodes if node.get("role", {}).get("value") in named and not node.get("ignored")]
    assert {node["role"]["value"] for node in found} >= {"meter", "region", "heading", "link"}
    unnamed = [
        node["role"]["value"]
        for node in found
        if node["role"]["value"] not in {"table", "list"} and not node.get("name", {}).get("value")
    ]
    assert unnamed == []


@needs_chromium
def test_a_box_that_goes_away_is_told_and_comes_back(box, browser):
    with StatusPage(StatusConfig(token=TOKEN), box.collector) as page:
        port = page.port
        browser.open(f"http://127.0.0.1:{port}/?token={TOKEN}")
        browser.wait("return document.getElementById('state-word').textContent === 'starting'")
        assert browser.run("return document.getElementById('offline').hidden")
    browser.wait("return !document.getElementById('offline').hidden")
    box.begin()
    with StatusPage(StatusConfig(token=TOKEN, port=port), box.collector):
        browser.wait("return document.getElementById('offline').hidden")
        browser.wait("return document.getElementById('state-word').textContent === 'playing'")
