"""A box whose sound card is a JACK server without hardware, behind ALSA's converters."""

import time

import numpy as np

from continuo.firmware_py.box.memory import LOST


def test_a_box_plays_and_captures_over_jack(boxes, connect_loop):
    """JACK sends what the box plays back to where it captures: its peer hears its own music again, bit for bit."""
    stream, playout = {"packet_samples": 256, "channels": 2}, {"fixed_packets": 6}
    near, far = (
        boxes(name, stream=stream, playout=playout, audio={"device": device, "periods": 8})
        for name, device in (("near", "jack without"), ("far", "far"))
    )
    for one, other in ((near, far), (far, near)):
        one.write({"net": {"peer_host": "127.0.0.1", "peer_port": other.port}})
    music = np.random.default_rng(0).integers(-8000, 8000, (60 * 48_000, 2))
    far.card.will_capture(music << 16)
    near.start(wait=False)
    far.start()
    near.until(near.is_at_work, 180)
    near.until_playing()
    far.until_playing()
    sent = (music[:, 0] << 16) + music[:, 1] + 32_768
    order = np.argsort(sent)
    heard, places, wrong = 0, [], 0

    def listen():
        """On a busy machine a server leaves out cycles, and an xrun undoes the connections."""
        nonlocal heard, wrong
        connect_loop()
        time.sleep(0.2)
        _, flags, received, _ = far.played()
        for flag, packet in zip(flags, received, strict=True):
            samples = np.rint(packet * 32_768).astype(np.int64)
            if flag & LOST or not samples.all(axis=1).all():  # silence at its edges: before or after an xrun
                continue
            wanted = (samples[:, 0] << 16) + samples[:, 1] + 32_768
            found = order[np.clip(np.searchsorted(sent, wanted[:1], sorter=order), 0, len(sent) - 1)][0]
            if np.array_equal(sent[found : found + len(wanted)], wanted):
                heard += 1
                places.append(int(found))
            else:
                wrong += 1
        return heard > 300

    far.until(listen, 60, "its music does not come back")
    assert wrong < 0.1 * heard  # packets with a gap of JACK's in them
    assert (np.diff(places) > 0).mean() > 0.95
    rows_before = near.count("PLAYED")
    near.until(lambda: near.count("PLAYED") > rows_before + 100)
    assert near.net_count("PEER_STATE") == far.net_count("PEER_STATE")
    assert near.stop() == far.stop() == 0
