"""The jitter buffer's bookkeeping, compiled: `playout.Playout` says what it means."""

import numpy as np
from numba import njit

from .timeline import SHIFT_NS, SHIFTS, expected_ns, observe, restart
from .tolerance import BIN_NS, CAP_NS, TOLERANCE_NS, add_delay, shift_delays

# Places in `state` (int64).
PACKET_NS, MARGIN_NS, FIXED, RESAMPLED, STOPPED_NS, PHASE, NEXT, HIGHEST, _FLOOR, CANDIDATE = range(10)
_ARRIVED_NS, LATE_BY_NS, EXCESS_NS, _LOWEST_NS, _LOWEST_BEFORE_NS, _LOWEST_UNTIL_NS = range(10, 16)
_CHANGED_NS, URGENT, _ANNOUNCED, _RUN, _REST = range(16, 21)
OUT_NUMBER, OUT_SECOND, OUT_NEXT_PRESENT, OUT_PREPARE_NEXT, OUT_DEPTH = range(21, 26)
PLAYED, DROPPED, LOST, LATE, STOPPED, INSERTED, REORDERED, DUPLICATED, STRAY, STATE = range(26, 36)

# What `arrive` and `pull` return, and values of `state[PHASE]`.
CAME_ON_TIME, CAME_REORDERED, CAME_LATE, CAME_TWICE, CAME_ASTRAY, CAME_ANEW = range(6)
PULL_PLAY, PULL_LOST, PULL_INSERTED, PULL_MERGED, PULL_BUFFERING, PULL_STOPPED = range(6)
PHASE_STOPPED, PHASE_BUFFERING, PHASE_PLAYING = range(3)

# Columns of `entries` (int64), one row per number modulo HISTORY; values of the column _FATE.
_OWNER, _FATE, _PULLED_NS, ENTRY_COLUMNS = range(4)
_NONE, _HERE, _PLAYED, _DROPPED, _LOST, _LATE, _STOPPED = range(7)

HISTORY = 1024
"""Packets that are remembered, to tell late from duplicate."""
SLOTS = 256
"""Packets that can wait."""
_REACH = SLOTS - 2

_LOWEST_SPAN_NS = 200_000_000
"""The allowance is the least of one to two spans: a thread that wakes late gives packets time that does not last."""
_HOLD_NS = 500_000_000
"""Between two packets dropped because the network got better: nobody is in a hurry then."""
_DROP_NS = 2_700_000
"""What one such drop takes off, at least: one packet, or several short ones."""
_OVERFULL_NS = 60_000_000
"""So much too much in the buffer is no matter of tolerance: away with it at once."""
_LEAN_NS = 2_500_000
_BEARABLE_NS = 1_000_000
"""What is too much up to the one, and too little up to the other at least, is left to a resampler if there is one."""
_RUN_NS = 10_000_000
"""Longest run of insertions while there is something to play; twice as long is played before the next."""
_CONFIRM_WITHIN = 8
"""A jump in the numbers is believed when the next packet lies at most so many further on."""
NO_CANDIDATE = -1000
_NEVER = -(1 << 50)


@njit(cache=True, nogil=True)
def wanted_ns(state, tolerance):  # type: ignore[no-untyped-def]
    """Delay beyond the fastest packet's that packets are to be allowed now."""
    if state[FIXED] >= 0:
        return state[FIXED] * state[PACKET_NS] + state[PACKET_NS] // 8
    return tolerance[TOLERANCE_NS]


@njit(cache=True, nogil=True)
def _is_here(entries, number):  # type: ignore[no-untyped-def]
    entry = entries[number & (HISTORY - 1)]
    return entry[_OWNER] == number and entry[_FATE] == _HERE


@njit(cache=True, nogil=True)
def _settle(entries, number, fate, pulled_ns):  # type: ignore[no-untyped-def]
    entry = entries[number & (HISTORY - 1)]
    entry[_OWNER] = number
    entry[_FATE] = fate
    entry[_PULLED_NS] = pulled_ns


@njit(cache=True, nogil=True)
def _skip(state, entries, before, now_ns):  # type: ignore[no-untyped-def]
    """Go on at number ``before``, leaving out what lies in between."""
    while state[NEXT] < before:
        if _is_here(entries, state[NEXT]):
            _settle(entries, state[NEXT], _DROPPED, now_ns)
            state[DROPPED] += 1
        else:
            _settle(entries, state[NEXT], _LOST, now_ns)
            state[LOST] += 1
        state[NEXT] += 1


@njit(cache=True, nogil=True)
def _leave(state, entries, now_ns):  # type: ignore[no-untyped-def]
    """Drop what waits; nobody will ask for it, nor for what is missing in between."""
    for number in range(state[NEXT], state[HIGHEST] + 1):
        if _is_here(entries, number):
            _settle(entries, number, _DROPPED, now_ns)
            state[DROPPED] += 1
        else:
            _settle(entries, number, _STOPPED, now_ns)
            state[STOPPED] += 1
    state[NEXT] = max(state[NEXT], state[HIGHEST] + 1)


@njit(cache=True, nogil=True)
def stop(state, entries, now_ns):  # type: ignore[no-untyped-def]
    """The peer sends nothing any more: what was missing since its last packet was never lost."""
    if state[PHASE] == PHASE_STOPPED:
        return
    silent = max(0, state[NEXT] - 1 - state[HIGHEST])
    state[LOST] -= silent
    state[STOPPED] += silent
    for number in range(state[NEXT] - min(silent, HISTORY), state[NEXT]):
        entries[number & (HISTORY - 1), _FATE] = _STOPPED
    _leave(state, entries, now_ns)
    state[PHASE] = PHASE_STOPPED
    state[EXCESS_NS] = 0


@njit(cache=True, nogil=True)
def _begin(state, entries, line, marks, number, arrival_ns):  # type: ignore[no-untyped-def]
    """A stream begins with ``number``: the first one, or one after a stop or a jump."""
    if state[PHASE] != PHASE_STOPPED:
        _leave(state, entries, arrival_ns)
    state[_FLOOR] = state[NEXT] - 1 if number >= state[NEXT] else number - 1
    state[NEXT] = number
    state[HIGHEST] = number - 1
    state[PHASE] = PHASE_BUFFERING
    state[_ANNOUNCED] = state[_RUN] = state[_REST] = state[EXCESS_NS] = 0
    restart(line, marks, number, arrival_ns)


@njit(cache=True, nogil=True)
def _measure(state, line, marks, tolerance, bins, total, number, arrival_ns, waited_ns):  # type: ignore[no-untyped-def]
    """Let the line and the tolerance know of an arrival; ``waited_ns``: how long after the line it was waited for."""
    shifts = marks[SHIFTS]
    delay_ns = observe(line, marks, number, arrival_ns)
    if marks[SHIFTS] != shifts:
        shift_ns = np.int64(line[SHIFT_NS])
        state[_LOWEST_NS] -= shift_ns
        state[_LOWEST_BEFORE_NS] -= shift_ns
        shift_delays(tolerance, bins, total, line[SHIFT_NS])
        delay_ns -= shift_ns
        waited_ns -= shift_ns
    add_delay(tolerance, bins, total, arrival_ns, max(delay_ns, waited_ns))


@njit(cache=True, nogil=True)
def arrive(state, entries, line, marks, tolerance, bins, total, number, arrival_ns, recovered):  # type: ignore[no-untyped-def]
    """See `playout.Playout.arrive`; returns one of CAME_..."""
    state[LATE_BY_NS] = 0
    entry = entries[number & (HISTORY - 1)]
    fate = entry[_FATE] if entry[_OWNER] == number else _NONE
    if fate in (_LOST, _STOPPED):  # a set would be allocated
        state[LOST if fate == _LOST else STOPPED] -= 1
        state[LATE] += 1
        state[LATE_BY_NS] = arrival_ns - entry[_PULLED_NS]
        state[HIGHEST] = max(state[HIGHEST], number)
        state[_ARRIVED_NS] = max(state[_ARRIVED_NS], arrival_ns)
        entry[_FATE] = _LATE
        if not recovered:
            waited_ns = entry[_PULLED_NS] - expected_ns(line, marks, number) + tolerance[BIN_NS]
            _measure(state, line, marks, tolerance, bins, total, number, arrival_ns, waited_ns)
        return CAME_LATE
    if fate != _NONE:
        state[DUPLICATED] += 1
        return CAME_TWICE
    code = CAME_ON_TIME
    if state[PHASE] == PHASE_STOPPED and number >= state[NEXT]:
        _begin(state, entries, line, marks, number, arrival_ns)
        code = CAME_ANEW
    elif state[PHASE] == PHASE_BUFFERING and state[_FLOOR] < number < state[NEXT] and state[HIGHEST] - number < _REACH:
        state[NEXT] = number
    elif (
        not state[NEXT] <= number < state[NEXT] + _REACH
        or expected_ns(line, marks, number) - arrival_ns > tolerance[CAP_NS]
    ):
        if not state[CANDIDATE] < number <= state[CANDIDATE] + _CONFIRM_WITHIN:
            state[CANDIDATE] = number
            state[STRAY] += 1
            return CAME_ASTRAY
        _begin(state, entries, line, marks, number, arrival_ns)
        code = CAME_ANEW
    state[CANDIDATE] = NO_CANDIDATE
    state[_ARRIVED_NS] = max(state[_ARRIVED_NS], arrival_ns)
    _settle(entries, number, _HERE, 0)
    if number > state[HIGHEST]:
        state[HIGHEST] = number
    else:
        state[REORDERED] += 1
        code = CAME_REORDERED
    if not recovered:
        _measure(state, line, marks, tolerance, bins, total, number, arrival_ns, _NEVER)
    return code


@njit(cache=True, nogil=True)
def _track_allowance(state, now_ns, allowance_ns):  # type: ignore[no-untyped-def]
    if now_ns >= state[_LOWEST_UNTIL_NS]:
        state[_LOWEST_UNTIL_NS] = now_ns + _LOWEST_SPAN_NS
        state[_LOWEST_BEFORE_NS] = state[_LOWEST_NS]
        state[_LOWEST_NS] = allowance_ns
    state[_LOWEST_NS] = min(state[_LOWEST_NS], allowance_ns)


@njit(cache=True, nogil=True)
def _moved(state, now_ns, packets):  # type: ignore[no-untyped-def]
    """The buffer got deeper by so many packets."""
    state[_LOWEST_NS] += packets * state[PACKET_NS]
    state[_LOWEST_BEFORE_NS] += packets * state[PACKET_NS]
    state[EXCESS_NS] += packets * state[PACKET_NS]
    state[_CHANGED_NS] = now_ns


@njit(cache=True, nogil=True)
def _start(state, entries, allowance_ns, wanted, now_ns):  # type: ignore[no-untyped-def]
    """Begin to play if the first packet's time has come; what is older than need be is left out."""
    if allowance_ns < wanted:
        return False
    surplus = min((allowance_ns - wanted) // state[PACKET_NS], state[HIGHEST] - state[NEXT])
    _skip(state, entries, state[NEXT] + surplus, now_ns)
    allowance_ns -= surplus * state[PACKET_NS]
    state[_LOWEST_NS] = state[_LOWEST_BEFORE_NS] = allowance_ns
    state[_LOWEST_UNTIL_NS] = now_ns + _LOWEST_SPAN_NS
    state[_CHANGED_NS] = now_ns
    state[PHASE] = PHASE_PLAYING
    return True


@njit(cache=True, nogil=True)
def _packets_too_many(state, now_ns):  # type: ignore[no-untyped-def]
    """How many packets to leave out now."""
    packet_ns = state[PACKET_NS]
    if state[URGENT] or state[EXCESS_NS] > _OVERFULL_NS:
        return max(state[EXCESS_NS] // packet_ns, 0)
    # A quarter of a packet is left, lest the next one that is a little late brings the dropped one back.
    packets = (state[EXCESS_NS] - packet_ns // 4) // packet_ns
    if packets <= 0 or (state[RESAMPLED] and state[EXCESS_NS] < _LEAN_NS) or now_ns - state[_CHANGED_NS] < _HOLD_NS:
        return 0
    return min(packets, max(1, _DROP_NS // packet_ns))


@njit(cache=True, nogil=True)
def _is_too_tight(state):  # type: ignore[no-untyped-def]
    """Half a packet (within limits) a resampler makes up for by and by, unheard."""
    bearable_ns = min(max(state[PACKET_NS] // 2, _BEARABLE_NS), _LEAN_NS) if state[RESAMPLED] else 0
    return -state[EXCESS_NS] > bearable_ns


@njit(cache=True, nogil=True)
def pull(state, entries, line, marks, tolerance, now_ns, ahead_ns):  # type: ignore[no-untyped-def]
    """See `playout.Playout.pull`; returns one of PULL_... and leaves the rest in ``state[OUT_...]``."""
    silent = state[HIGHEST] < state[NEXT] and now_ns - state[_ARRIVED_NS] > state[STOPPED_NS]
    if state[PHASE] != PHASE_STOPPED and silent:
        stop(state, entries, now_ns)
    allowance_ns = now_ns + ahead_ns - expected_ns(line, marks, state[NEXT]) - state[MARGIN_NS]
    wanted = wanted_ns(state, tolerance)
    if state[PHASE] != PHASE_PLAYING and (
        state[PHASE] == PHASE_STOPPED or not _start(state, entries, allowance_ns, wanted, now_ns)
    ):
        state[OUT_NUMBER] = state[OUT_SECOND] = -1
        state[OUT_NEXT_PRESENT] = state[OUT_PREPARE_NEXT] = 0
        state[OUT_DEPTH] = max(0, state[HIGHEST] + 1 - state[NEXT])
        return PULL_STOPPED if state[PHASE] == PHASE_STOPPED else PULL_BUFFERING
    _track_allowance(state, now_ns, now_ns + ahead_ns - expected_ns(line, marks, state[NEXT]) - state[MARGIN_NS])
    state[EXCESS_NS] = min(state[_LOWEST_NS], state[_LOWEST_BEFORE_NS]) - wanted
    number = state[NEXT]
    present = _is_here(entries, number)
    state[OUT_NUMBER], state[OUT_SECOND] = number, -1
    state[OUT_DEPTH] = max(0, state[HIGHEST] + 1 - number)
    surplus = _packets_too_many(state, now_ns)
    while surplus > 0 and not _is_here(entries, number + surplus + (0 if present else 1)):
        surplus -= 1
    code = PULL_PLAY
    if _is_too_tight(state) and (state[_ANNOUNCED] or not present):
        code = PULL_INSERTED
        state[INSERTED] += 1
        state[_RUN] += 1
        _moved(state, now_ns, 1)
    else:
        if present:
            state[PLAYED] += 1
            _settle(entries, number, _PLAYED, now_ns)
        else:
            code = PULL_LOST
            state[LOST] += 1
            _settle(entries, number, _LOST, now_ns)
        state[NEXT] = number + 1
        if surplus > 0:
            _skip(state, entries, number + surplus + 1, now_ns)
            _moved(state, now_ns, -surplus)
            if present:
                code = PULL_MERGED
                state[OUT_SECOND] = number + surplus
        state[_RUN] = 0
        state[_REST] = max(0, state[_REST] - 1)
    _announce(state, entries, now_ns)
    return code


@njit(cache=True, nogil=True)
def _announce(state, entries, now_ns):  # type: ignore[no-untyped-def]
    """Say what the next pull may need."""
    next_present = _is_here(entries, state[NEXT])
    if state[_RUN] * state[PACKET_NS] >= _RUN_NS and next_present:
        state[_REST] = 2 * state[_RUN]
        state[_RUN] = 0
    state[_ANNOUNCED] = _is_too_tight(state) and state[_REST] == 0
    if not _is_too_tight(state) and _packets_too_many(state, now_ns) == 0:
        state[URGENT] = 0
    state[OUT_NEXT_PRESENT] = next_present
    state[OUT_PREPARE_NEXT] = state[_ANNOUNCED] or not next_present
