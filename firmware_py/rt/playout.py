"""The jitter buffer: which packet plays next, whether it is there, and how long to wait for those that come later.

It holds numbers and times, no samples: the caller keeps packet n in slot ``n % SLOTS``. Everything is decided from the
times it is told, so that a test can run ten minutes in seconds. docs/box.md has the whole algorithm and its sources.
"""

from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from . import playout_kernels as k
from .playout_kernels import SLOTS
from .spec import StreamSpec
from .timeline import Timeline
from .tolerance import Tolerance

__all__ = ["SLOTS", "Action", "Arrival", "Playout", "Pull"]

_CAP_PACKETS = 128
_FIXED_PACKETS_MOST = 64
_STOPPED_NS = 500_000_000


class Arrival(IntEnum):
    """What an arriving packet is."""

    ON_TIME = k.CAME_ON_TIME
    REORDERED = k.CAME_REORDERED
    """In time, but after one that was sent later."""
    LATE = k.CAME_LATE
    """After its pull: it was replaced. `Playout.late_by_ns` says how long after."""
    DUPLICATED = k.CAME_TWICE
    STRAY = k.CAME_ASTRAY
    """Its number fits nowhere. If the next one's follows, the peer has begun anew."""
    RESTARTED = k.CAME_ANEW
    """In time; the first of a stream."""

    @property
    def kept(self) -> bool:
        """Whether the packet will be asked for: put its samples into slot ``number % SLOTS``."""
        return self not in _NOT_KEPT


_NOT_KEPT = (Arrival.LATE, Arrival.DUPLICATED, Arrival.STRAY)
_ARRIVALS = tuple(Arrival)


class Action(IntEnum):
    """What to play now."""

    PLAY = k.PULL_PLAY
    """Packet ``number``."""
    LOST = k.PULL_LOST
    """The replacement of packet ``number``: it is not there, and not waited for."""
    INSERTED = k.PULL_INSERTED
    """A replacement although nothing is lost: the buffer gets one packet deeper. ``number`` is played next."""
    MERGED = k.PULL_MERGED
    """Packet ``number`` crossfaded into packet ``second`` (`merge.Merger`): the buffer gets shallower."""
    BUFFERING = k.PULL_BUFFERING
    """Nothing yet: packets come, and the first one's time is not there."""
    STOPPED = k.PULL_STOPPED
    """Nothing: no peer, or none that sends."""


_ACTIONS = tuple(Action)


class Pull:
    """What `Playout.pull` decided.

    Attributes
    ----------
    action : Action
    number : int
        The packet that it is about; -1 when buffering or stopped.
    second : int
        The packet to crossfade into, when merged; else -1.
    present : bool
        Whether packet ``number`` is played: `Action.PLAY` or `Action.MERGED`.
    next_present : bool
        Whether the packet after it is there already.
    prepare_next : bool
        Whether the next pull may need a replacement, so that one should be made ready while this packet plays: the
        next packet is not there yet, or one is to be inserted.
    depth_samples : int
        From packet ``number`` to the newest one, both included; 0 if it is not there and none after it.
    """

    __slots__ = ("action", "depth_samples", "next_present", "number", "prepare_next", "present", "second")

    def __init__(self) -> None:
        self.action: Action = Action.STOPPED
        self.number = self.second = -1
        self.present = self.next_present = self.prepare_next = False
        self.depth_samples = 0


class Playout:
    """Decides packet by packet. `arrive` and `pull` allocate nothing, log nothing and raise nothing.

    Numbers only ever grow, as `net.wire.Sink` has it. Every number from the first to the one played last is counted
    exactly once, as played, dropped, lost, late, or not sent because the peer had stopped; a packet that arrives after
    it was counted as lost moves to late.

    Attributes
    ----------
    arrivals : Timeline
        When packets would arrive if the network delayed none of them: the peer's clock, for `drift.DriftEstimator`.
    late_by_ns : int
        How long after its pull the packet of the last `arrive` came, by the network's time stamp; 0 if it is not
        late. Negative: the network was in time, and our own network process was not.
    """

    def prepare(
        self,
        spec: StreamSpec,
        tightness: float = 0.5,
        fixed_packets: int = -1,
        period_samples: int = 0,
        resampled: bool = False,
        stopped_ns: int = _STOPPED_NS,
    ) -> None:
        """Allocate everything and compile every kernel.

        Parameters
        ----------
        spec
            Format of the packets.
        tightness
            0 safe .. 1 tight. See `tolerance.Tolerance`.
        fixed_packets
            0 to 64: the allowance is always that long. -1: it follows the network.
        period_samples
            What the device takes at once. 0: a packet.
        resampled
            Whether a resampler between here and the device follows the peer's clock (`drift.DriftEstimator`): it also
            makes up for what is less than a packet.
        stopped_ns
            The peer has stopped when nothing has come for that long.

        Raises
        ------
        InputError
            When a value is out of its range.
        """
        self._packet_samples = spec.packet_samples
        packet_ns = spec.packet_ns
        period = period_samples or spec.packet_samples
        # A packet is pulled up to so long before it sounds: at the beginning of the period in which it begins.
        early_samples = period if resampled else period - int(np.gcd(period, spec.packet_samples))
        self._ns_per_sample = 1e9 / spec.sample_rate_hz
        self.arrivals = Timeline(self._ns_per_sample * spec.packet_samples)
        self._tolerance = Tolerance()
        self._tolerance.prepare(spec, tightness, _CAP_PACKETS)
        self._state: NDArray[np.int64] = np.zeros(k.STATE, np.int64)
        self._entries: NDArray[np.int64] = np.zeros((k.HISTORY, k.ENTRY_COLUMNS), np.int64)
        self._state[k.PACKET_NS] = packet_ns
        self._state[k.MARGIN_NS] = round(early_samples * self._ns_per_sample)
        self._state[k.RESAMPLED] = resampled
        self._state[k.STOPPED_NS] = stopped_ns
        self.set_fixed_packets(fixed_packets)
        self._pull = Pull()
        self._warm_up()
        self.reset()

    def reset(self) -> None:
        """Forget the stream and all counts; tightness and fixed mode stay."""
        self._state[k.PHASE :] = 0
        self._state[k.HIGHEST] = -1
        self._state[k.CANDIDATE] = k.NO_CANDIDATE
        self._entries.fill(0)
        self._entries[:, 0] = -1
        self._tolerance.reset()
        self.arrivals.reset()

    def arrive(self, number: int, arrival_ns: int, recovered: bool) -> Arrival:
        """Take note of a packet, in the order of arrival.

        Parameters
        ----------
        number
            The packet's.
        arrival_ns
            When it came, on the clock of `pull`.
        recovered
            A redundant copy: its time says nothing about the network's delay.
        """
        tolerance = self._tolerance
        code: int = k.arrive(
            self._state, self._entries, self.arrivals.values, self.arrivals.marks,
            tolerance.state, tolerance.bins, tolerance.total, number, arrival_ns, recovered,
        )  # fmt: skip
        self.late_by_ns = self._state.item(k.LATE_BY_NS)
        return _ARRIVALS[code]

    def pull(self, now_ns: int, ahead_samples: int = 0) -> Pull:
        """Decide what to play next. The result belongs to the playout and is overwritten by the next call.

        Parameters
        ----------
        now_ns
            CLOCK_MONOTONIC.
        ahead_samples
            Samples before this packet that wait to be played in this period: in the resampler, or from packets pulled
            in the same period.
        """
        state, pull = self._state, self._pull
        code = k.pull(
            state, self._entries, self.arrivals.values, self.arrivals.marks, self._tolerance.state,
            now_ns, int(ahead_samples * self._ns_per_sample),
        )  # fmt: skip
        pull.action = _ACTIONS[code]
        pull.number = state.item(k.OUT_NUMBER)
        pull.second = state.item(k.OUT_SECOND)
        pull.present = code == k.PULL_PLAY or code == k.PULL_MERGED  # noqa: PLR1714 (a set would be allocated)
        pull.next_present = state.item(k.OUT_NEXT_PRESENT) != 0
        pull.prepare_next = state.item(k.OUT_PREPARE_NEXT) != 0
        pull.depth_samples = self._packet_samples * state.item(k.OUT_DEPTH)
        return pull

    def stop(self, now_ns: int) -> None:
        """The peer said goodbye: stop at once."""
        k.stop(self._state, self._entries, now_ns)

    def set_tightness(self, tightness: float) -> None:
        """0 safe .. 1 tight; the buffer follows from the next pull on. InputError when out of range."""
        self._tolerance.set_tightness(tightness)
        self._state[k.URGENT] = 1

    def set_fixed_packets(self, fixed_packets: int) -> None:
        """0 to 64 packets, or -1 to follow the network; from the next pull on. InputError when out of range."""
        if not -1 <= fixed_packets <= _FIXED_PACKETS_MOST:
            raise InputError(f"fixed_packets is {fixed_packets}: choose from 0 to {_FIXED_PACKETS_MOST}, or -1: adapt")
        self._state[k.FIXED] = fixed_packets
        self._state[k.URGENT] = 1

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """What `playout_kernels.arrive` takes, for kernels that receive packets along with other work."""
        tolerance = self._tolerance
        return (
            self._state, self._entries, self.arrivals.values, self.arrivals.marks,
            tolerance.state, tolerance.bins, tolerance.total,
        )  # fmt: skip

    @property
    def next_number(self) -> int:
        """The packet that is pulled next."""
        return self._state.item(k.NEXT)

    @property
    def depth_samples(self) -> int:
        """From the packet that is pulled next to the newest, both included."""
        return self._packet_samples * max(0, self._state.item(k.HIGHEST) + 1 - self._state.item(k.NEXT))

    @property
    def tolerance_samples(self) -> int:
        """How much later than the fastest packet's the delay of a packet may be at present, as wanted."""
        return round(max(0, int(k.wanted_ns(self._state, self._tolerance.state))) / self._ns_per_sample)

    @property
    def excess_samples(self) -> float:
        """By how much packets wait longer than that; negative: less long. For the resampler to make up for."""
        return self._state.item(k.EXCESS_NS) / self._ns_per_sample

    @property
    def played(self) -> int:
        """Packets played, merged ones included (as one)."""
        return self._state.item(k.PLAYED)

    @property
    def dropped(self) -> int:
        """Packets that were there and were left out, or merged into the one before."""
        return self._state.item(k.DROPPED)

    @property
    def lost(self) -> int:
        """Packets that were not there when they were pulled, and have not come until now."""
        return self._state.item(k.LOST)

    @property
    def late(self) -> int:
        """Packets that came after they were pulled."""
        return self._state.item(k.LATE)

    @property
    def unsent(self) -> int:
        """Packets that were asked for, but the peer had stopped."""
        return self._state.item(k.STOPPED)

    @property
    def inserted(self) -> int:
        """Replacements played without a packet being lost for it."""
        return self._state.item(k.INSERTED)

    @property
    def reordered(self) -> int:
        """Packets in time, but out of order."""
        return self._state.item(k.REORDERED)

    @property
    def duplicated(self) -> int:
        """Packets that came again."""
        return self._state.item(k.DUPLICATED)

    @property
    def strays(self) -> int:
        """Packets whose number fit nowhere."""
        return self._state.item(k.STRAY)

    def _warm_up(self) -> None:
        """Load the kernels for the types that they are called with."""
        self.reset()
        self.arrive(0, 0, False)
        self.arrive(0, 0, True)
        self.pull(1_000_000_000)
        self.stop(1_000_000_000)
        _ = self.tolerance_samples
