"""The memory that the processes of one box share, and what lies where in it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..net.counters import NetCounter, new_counters
from ..rt.burst import Burst
from ..rt.counters import AudioCounter, new_audio_counters
from ..rt.method import Method
from ..rt.repetition import HISTORY_SAMPLES
from ..rt.rings import AudioRing
from ..rt.shared import SharedMemory
from ..rt.slots import ReplacementSlots
from ..rt.spec import StreamSpec
from ..rt.timing import BOX_TIMING_DTYPE, TimingRing

__all__ = ["LOST", "RECOVERED", "RESET", "WANTED", "BoxMemory"]

NETWORK_PACKETS = 256
"""Places in the rings to and from the network process: 85 ms of the shortest packets."""
PULLED_PACKETS = 512
"""Places in the ring to the conceal process, at least. A new one finds its history there: 6144 samples, and with a
refiner all that it looks back on; a quarter stays free for what plays meanwhile."""
RECORD_PACKETS = 1024
"""Places in the rings to the recorder, which writes to a disk."""
TIMING_ROWS = 16_384
"""5.5 s of the shortest packets: control may be gone that long before a row is lost."""

LOST, WANTED, RESET = 1, 2, 4
"""Flags of a pulled packet: it was not there; its successor is not there yet; it is the first of a stream."""
RECOVERED = 1
"""Flag of a received packet: from a redundant copy."""


class BoxMemory:
    """Everything that crosses from one process to another.

    Attributes
    ----------
    audio : int64 [shape=(n,)], by `AudioCounter`
    net : int64 [shape=(len(NetCounter),)]
    to_net : AudioRing
        Captured packets, from audio to net.
    from_net : AudioRing
        Received packets with their numbers, times and `RECOVERED`, from net to audio.
    pulled : AudioRing
        What became of each packet that played, from audio to conceal: number in the order of playing, and flags; the
        samples that were received, or what was heard instead.
    slots : ReplacementSlots
        Replacements, from conceal to audio, by the same numbers.
    timing : TimingRing of `BOX_TIMING_DTYPE`
        From audio to control.
    record_received, record_played : AudioRing
        What was received (zeros where nothing was) and what was played for it, from audio to control; `LOST` tells.
    """

    def __init__(self, path: Path, spec: StreamSpec, method: Method, *, create: bool) -> None:
        ahead_samples = Burst(method, spec).ahead_samples
        network = AudioRing.bytes_needed(spec, NETWORK_PACKETS)
        history_packets = HISTORY_SAMPLES // spec.packet_samples + 1 if method.refiner is not None else 0
        pulled_packets = max(PULLED_PACKETS, 1 << (history_packets * 4 // 3).bit_length())
        pulled = AudioRing.bytes_needed(spec, pulled_packets)
        recorded = AudioRing.bytes_needed(spec, RECORD_PACKETS)
        self.shared = SharedMemory(
            path,
            {
                "audio": 8 * (max(AudioCounter) + 1),
                "net": 8 * len(NetCounter),
                "net_state": 8 * 8,
                "to_net": network,
                "from_net": network,
                "pulled": pulled,
                "slots": ReplacementSlots.bytes_needed(spec.channels, ahead_samples),
                "timing": TimingRing.bytes_needed(TIMING_ROWS, BOX_TIMING_DTYPE),
                "record_received": recorded,
                "record_played": recorded,
            },
            create=create,
        )
        block = self.shared.block
        self.audio: NDArray[np.int64] = new_audio_counters(block("audio").data)
        self.net: NDArray[np.int64] = new_counters(block("net").data)
        self.net_state: NDArray[np.int64] = block("net_state").view(np.int64)
        """Of the network process, for its successor: the last packet's number (plus 1; 0: none) and arrival."""
        self.to_net = AudioRing(spec, NETWORK_PACKETS, block("to_net"))
        self.from_net = AudioRing(spec, NETWORK_PACKETS, block("from_net"))
        self.pulled = AudioRing(spec, pulled_packets, block("pulled"))
        self.slots = ReplacementSlots(spec.channels, ahead_samples, block("slots"))
        self.timing = TimingRing(TIMING_ROWS, BOX_TIMING_DTYPE, block("timing").data)
        self.record_received = AudioRing(spec, RECORD_PACKETS, block("record_received"))
        self.record_played = AudioRing(spec, RECORD_PACKETS, block("record_played"))
        if create:
            self.audio[AudioCounter.TIGHTNESS_MILLIONTHS] = -1
