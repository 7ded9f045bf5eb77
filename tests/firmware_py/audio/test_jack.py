"""ALSA over a JACK server without hardware: a device with a clock and a buffer of its own, behind converters."""

import time

import numpy as np
import pytest

from continuo.firmware_py.audio.devices import find_device
from continuo.firmware_py.audio.duplex import IoStatus
from continuo.firmware_py.audio.negotiation import Direction
from continuo.firmware_py.errors import InputError


@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_played_comes_back(connect_loop, open_duplex, loop_of, channels):
    assert find_device("jack without", Direction.CAPTURE) == "viajack"
    duplex = open_duplex("jack without", packet=512, channels=channels, periods=6)
    assert duplex.info.capture_device == "viajack"
    loop = loop_of(duplex, channels)
    click = np.zeros((512, channels), np.float32)
    click[100] = 0.5
    for _ in range(20):  # on a busy machine a server leaves out cycles, and an xrun undoes the connections
        loop.run(2, click[:0])
        connect_loop()
        again = loop_of(duplex, channels)
        again.run(12, click)
        if again.heard.any(axis=0).all() and set(again.statuses) == {(IoStatus.OK, IoStatus.OK)}:
            break
    for channel in range(channels):
        (found,) = np.flatnonzero(again.heard[:, channel])
        assert found > 100 + 4 * 512  # most of its buffer, and a cycle of the server
        assert again.heard[found, channel] == 0.5


def test_an_xrun_behind_a_converter(jackd, open_duplex, loop_of):
    """ALSA's converters say that nothing is there to be read, not that their device overran."""
    duplex = open_duplex("viajack", periods=2)
    loop = loop_of(duplex)
    loop.run(3)
    for _ in range(2):
        before = len(loop.captured)
        time.sleep(0.2)
        loop.run(5)
        assert IoStatus.XRUN in [captured for captured, _ in loop.statuses[before:]]
    assert duplex.is_present


def test_another_rate_than_the_servers(jackd, open_duplex):
    with pytest.raises(InputError, match=r"cannot capture 44100 Hz .* it offers 48000 Hz"):
        open_duplex("rawjack", rate=44_100, channels=2)
