"""Fixtures that several folders use."""

import contextlib
import importlib.util
import os
import signal
import subprocess
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("timed_pcm", Path(__file__).parent / "audio" / "timed_pcm.py")
timed_pcm = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(timed_pcm)
# What a shell runs in the background ignores Ctrl-C, and so would what the tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def timed_pcm_library(tmp_path_factory):
    """The plugin behind `timed_cards`, built once."""
    return timed_pcm.build(tmp_path_factory.mktemp("timed_pcm"))


@pytest.fixture
def timed_cards(timed_pcm_library, tmp_path, monkeypatch):
    """Sound cards without hardware, for this process and those that it starts: see `audio/timed_pcm.py`."""
    folder = tmp_path / "cards"
    folder.mkdir()
    cards = timed_pcm.TimedCards(folder, timed_pcm_library)
    for name, value in cards.environment.items():
        monkeypatch.setenv(name, value)
    return cards


@pytest.fixture
def jackd(tmp_path, timed_cards, monkeypatch):
    """A JACK server without hardware, 48 kHz, 128 samples; the PCM ``viajack`` plays on it and captures from it."""
    server = f"continuo-{os.getpid()}"
    ports = " ".join(f"{k} system:{{}}_{k + 1}" for k in range(2))
    timed_cards.write(
        "pcm.rawjack {\n  type jack\n"
        f"  playback_ports {{ {ports.format('playback', 'playback')} }}\n"
        f"  capture_ports {{ {ports.format('capture', 'capture')} }}\n}}\n"
        'pcm.viajack { type plug slave.pcm rawjack hint { show on description "JACK without hardware" } }\n'
    )
    monkeypatch.setenv("JACK_DEFAULT_SERVER", server)
    command = ["jackd", "-n", server, "--no-mlock", "-d", "dummy", "-r", "48000", "-p", "128", "-C", "2", "-P", "2"]
    with (tmp_path / "jackd.log").open("wb") as log:
        process = subprocess.Popen(["timeout", "--foreground", "120", *command], stdout=log, stderr=log)
    try:
        wait = ["jack_wait", "-s", server, "-w", "-t", "10"]
        subprocess.run(wait, check=True, capture_output=True, timeout=20)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        process.wait(5)


@pytest.fixture
def connect_loop(jackd):
    """Connects what ALSA's plugin plays with what it captures, both its ports."""
    jack = pytest.importorskip("jack")
    patchbay = jack.Client("patchbay", no_start_server=True, servername=jackd)

    def connect():
        for out, into in zip(patchbay.get_ports(r"\.P\..*:out_"), patchbay.get_ports(r"\.C\..*:in_"), strict=False):
            with contextlib.suppress(jack.JackError):  # connected already, or gone meanwhile
                patchbay.connect(out, into)

    yield connect
    patchbay.close()
