"""Random datagrams: counted, never raised, never heard."""

import numpy as np
import pytest

from continuo.firmware_py.net.counters import NetCounter
from continuo.firmware_py.net.wire import Heard

DATAGRAMS = 100_000
WIRES = {
    "srtp": {"redundancy": 1},
    "rtp": {"redundancy": 1, "insecure": True},
    "jacktrip": {"redundancy": 1, "wire": "jacktrip-p2p", "insecure": True},
}
CAUSES = [cause for cause in NetCounter if NetCounter.MALFORMED <= cause <= NetCounter.JUMPED]


def random_datagrams(count, real, seed=0):
    """A third noise, a third noise with a head like the wire's, a third real ones with some bytes changed or cut."""
    rng = np.random.default_rng(seed)
    noise = rng.bytes(4096)
    kinds, lengths = rng.integers(0, 3, count), rng.integers(0, 700, count)
    starts, values = rng.integers(0, 3000, (2, count))
    for kind, length, start, value in zip(*(array.tolist() for array in (kinds, lengths, starts, values)), strict=True):
        if kind == 0:
            yield noise[start : start + length]
            continue
        original = real[value % len(real)]
        if kind == 1:
            yield original[: 4 + value % 14] + noise[start : start + length]
        else:
            changed = bytearray(original[: max(1, len(original) - value % 3 * (value % 50))])
            for at in (start, start // 7, start // 31)[: 1 + value % 3]:
                changed[at % len(changed)] ^= 1 << value % 8
            yield bytes(changed)


@pytest.mark.parametrize("name", WIRES)
def test_random_datagrams_are_counted_and_dropped(side, noise, name):
    sender, receiver = side(**WIRES[name]), side(**WIRES[name])
    samples = noise(1)[0]
    real = [bytes(sender.wire.encode(number, samples)) for number in range(20)]
    real += [bytes(datagram) for datagram in sender.wire.reports(0)] + [bytes(sender.wire.goodbye(0)[0])]
    for datagram in real[:10]:
        assert receiver.hear(datagram) == Heard.AUDIO
    heard = [0] * len(Heard)
    for index, datagram in enumerate(random_datagrams(DATAGRAMS, real)):
        heard[receiver.hear(datagram, index * 1000)] += 1
    dropped = int(receiver.counters[CAUSES].sum())
    assert dropped == heard[Heard.NOTHING]
    assert sum(heard) == DATAGRAMS
    assert receiver.count("RECEIVED")[0] == 10 + heard[Heard.AUDIO]
    assert all(np.abs(packet[2]).max() <= 1 and packet[2].shape == (64, 2) for packet in receiver.got)
    if name == "srtp":
        assert heard[Heard.AUDIO] <= 10  # a bit of a real one changed and changed back: the next ones of the sender
        assert len(receiver.got) <= 20
    sequel = sender.wire.encode(20, samples)
    receiver.wire.interrupt()
    assert receiver.hear(sequel, 10**9) == Heard.AUDIO
    np.testing.assert_array_equal(receiver.got[-1][2], samples)


@pytest.mark.parametrize("name", WIRES)
def test_random_bytes_alone_are_never_audio(side, name):
    receiver = side(**WIRES[name])
    rng = np.random.default_rng(1)
    for length in rng.integers(0, 700, 20_000).tolist():
        assert receiver.hear(rng.bytes(length)) == Heard.NOTHING
    assert not receiver.got
