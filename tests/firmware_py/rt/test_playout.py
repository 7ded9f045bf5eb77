"""What one packet, or one change, does to the jitter buffer. Whole networks are in `test_playout_networks.py`."""

import pytest

from continuo.firmware_py.errors import InputError
from continuo.firmware_py.rt.playout import SLOTS, Action, Arrival, Playout

T = 2_666_667
"""A packet of 128 samples at 48 kHz, in ns."""
MS = 1_000_000
START = 10_000 * MS
WAY = 4_400_000
"""Time a packet takes through the network."""


class Table:
    """A playout to be told packet by packet what happens; packet n leaves the peer at ``START + n * T``."""

    def __init__(self, virtual, fixed_packets=2, **settings):
        self.playout = virtual.make_playout(fixed_packets=fixed_packets, **settings)
        self.now_ns = START

    def arrive(self, *numbers, after_ns=WAY, recovered=False):
        return [self.playout.arrive(n, START + n * T + after_ns, recovered) for n in numbers]

    def pull(self):
        self.now_ns += T
        return self.playout.pull(self.now_ns)

    def run(self, first, last, missing=()):
        """Packets arrive and are pulled in step, ``first`` to ``last``; return the pulls' (action, number)."""
        seen = []
        for number in range(first, last + 1):
            if number not in missing:
                self.arrive(number)
            pull = self.pull()
            seen.append((pull.action, pull.number))
        return seen


@pytest.fixture
def table(virtual):
    return Table(virtual)


@pytest.fixture
def playing(table):
    """Packets 0 to 19 have come, and those before ``playout.next_number`` have been played."""
    table.run(0, 19)
    assert table.playout.next_number in {15, 16, 17}
    return table


def test_nothing_plays_before_somebody_sends(table):
    pull = table.pull()
    assert pull.action == Action.STOPPED
    assert pull.number == pull.second == -1
    assert not pull.present
    assert not pull.next_present
    assert not pull.prepare_next
    assert table.playout.depth_samples == 0


def test_the_first_packets_wait_until_as_many_as_wanted_are_there(virtual):
    for fixed in (0, 1, 4):
        table = Table(virtual, fixed_packets=fixed)
        actions = [action for action, _ in table.run(0, 19)]
        begun = actions.index(Action.PLAY)
        assert set(actions[:begun]) <= {Action.STOPPED, Action.BUFFERING}
        assert set(actions[begun:]) == {Action.PLAY}
        # Packet 0 is there since WAY after START, and is played at T * (1 + begun).
        waits = (1 + begun) * T - WAY
        assert fixed * T <= waits < (fixed + 1.5) * T


def test_packets_play_in_the_order_of_their_numbers(table):
    assert [table.arrive(n)[0] for n in (0, 2, 1)] == [Arrival.RESTARTED, Arrival.ON_TIME, Arrival.REORDERED]
    table.arrive(3, 4, 5)
    played = [n for _, n in table.run(6, 20) if n >= 0]
    assert played == list(range(len(played)))
    assert table.playout.reordered == 1


def test_a_packet_from_before_the_first_that_came_is_played_too(table):
    table.arrive(8)
    assert table.arrive(7, after_ns=8 * MS) == [Arrival.REORDERED]
    table.now_ns = START + 8 * T
    assert next(n for _, n in table.run(9, 20) if n >= 0) == 7


def test_asked_when_the_packet_before_is_pulled_and_again_at_the_deadline(playing):
    """The rule of concealment without latency: prepare early, decide late."""
    pull = playing.pull()
    while pull.next_present:
        assert not pull.prepare_next
        pull = playing.pull()
    assert pull.prepare_next
    assert (pull.action, pull.number) == (Action.PLAY, 19)
    playing.arrive(pull.number + 1)
    pull = playing.pull()
    assert pull.action == Action.PLAY
    assert playing.playout.lost == 0


def test_lost_then_late(playing):
    playing.run(21, 30, missing=(21,))
    playout = playing.playout
    # 20 and 21 never came: both are pulled, and lost.
    assert playout.lost == 2
    pulled_ns = START + 20 * T + WAY
    assert playing.arrive(20, after_ns=60 * MS) == [Arrival.LATE]
    assert 0 < playout.late_by_ns < START + 20 * T + 60 * MS - pulled_ns
    assert (playout.lost, playout.late) == (1, 1)
    assert playing.arrive(20, after_ns=61 * MS) == [Arrival.DUPLICATED]
    assert playout.late_by_ns == 0
    assert not Arrival.LATE.kept


def test_late_by_is_counted_from_the_pull(playing):
    playout = playing.playout
    number = playout.next_number
    while playout.next_number <= 20:
        playing.pull()
    assert number <= 20
    assert playout.lost == 1
    playout.arrive(20, playing.now_ns + 12_345, False)
    assert playout.late_by_ns == 12_345
    playing.pull()
    playout.arrive(21, playing.now_ns - 777, False)  # by the network's stamp in time: our own hand-over was not
    assert playout.late_by_ns == -777


def test_duplicates_of_waiting_and_of_played_packets(playing):
    assert playing.arrive(19, 3) == [Arrival.DUPLICATED] * 2
    assert playing.playout.duplicated == 2
    assert {n for _, n in playing.run(20, 25)} >= {19}


def test_a_loss_is_replaced_once_and_playing_goes_on(table):
    seen = table.run(0, 40, missing=(20, 21))
    about = [(action, n) for action, n in seen if n >= 0]
    assert [n for _, n in about] == list(range(len(about)))
    assert [n for action, n in about if action == Action.LOST] == [20, 21]


@pytest.mark.parametrize("packets", [1, 2, 3])
def test_growing_conceals_one_packet_per_step_and_loses_none(packets, playing):
    playout = playing.playout
    before = playout.depth_samples
    playout.set_fixed_packets(2 + packets)
    seen = playing.run(20, 60)
    actions = [action for action, _ in seen]
    assert actions.count(Action.INSERTED) == packets == playout.inserted
    assert Action.LOST not in actions
    assert playout.lost == 0
    assert actions.index(Action.INSERTED) == 1  # announced by the first pull, so that a replacement is ready
    assert [n for action, n in seen if action == Action.PLAY] == list(range(seen[0][1], playout.next_number))
    assert playout.depth_samples - before == 128 * packets


def test_growing_by_a_lot_leaves_music_in_between(playing):
    playing.playout.set_fixed_packets(14)
    actions = [action for action, _ in playing.run(20, 90)]
    assert actions.count(Action.INSERTED) == 12
    runs = "".join("I" if a == Action.INSERTED else "p" for a in actions).strip("p").split("p")
    assert max(len(run) for run in runs) * T <= 10 * MS + T
    assert len(actions) - actions[::-1].index(Action.INSERTED) < 40  # done within 0.1 s


def test_an_insertion_is_announced(playing):
    playing.playout.set_fixed_packets(4)
    pull = playing.pull()
    assert pull.present
    assert pull.next_present
    assert pull.prepare_next
    following = pull.number + 1
    pull = playing.pull()
    assert pull.action == Action.INSERTED
    assert not pull.present
    assert pull.number == following
    assert pull.next_present


@pytest.mark.parametrize("packets", [1, 3])
def test_shrinking_is_one_crossfade_at_once(packets, virtual):
    table = Table(virtual, fixed_packets=4)
    table.run(0, 19)
    playout = table.playout
    before = playout.depth_samples
    playout.set_fixed_packets(4 - packets)
    table.arrive(20)
    number = playout.next_number
    pull = table.pull()
    assert pull.action == Action.MERGED
    assert pull.present
    assert (pull.number, pull.second) == (number, number + packets)
    assert playout.next_number == number + packets + 1
    assert playout.depth_samples == before - 128 * packets
    assert playout.dropped == packets
    assert set(table.run(21, 60)) == {(Action.PLAY, n) for n in range(number + packets + 1, playout.next_number)}


def test_shrinking_uses_a_missing_packet(virtual):
    """What is replaced anyway hides the step: the packet after it is left out, and nothing is crossfaded."""
    table = Table(virtual, fixed_packets=4)
    table.run(0, 29, missing=(25,))
    assert table.playout.next_number == 25
    table.playout.set_fixed_packets(3)
    pull = table.pull()
    assert (pull.action, pull.number, pull.second) == (Action.LOST, 25, -1)
    assert table.playout.next_number == 27
    assert (table.playout.lost, table.playout.dropped) == (1, 1)


def test_shrinking_waits_for_a_packet_to_fade_to(virtual):
    table = Table(virtual, fixed_packets=1)
    table.run(0, 20)
    table.playout.set_fixed_packets(0)
    while table.playout.next_number <= 20:
        pull = table.pull()
        assert pull.action in {Action.PLAY, Action.MERGED}
        assert pull.second == -1 or pull.second <= 20


def test_growing_and_a_missing_packet_are_one_and_the_same(table):
    """A packet that is missing while the buffer should grow is waited for, not lost."""
    table.run(0, 17)
    while table.playout.next_number < 18:
        table.pull()
    table.playout.set_fixed_packets(3)
    pull = table.pull()
    assert (pull.action, pull.number, pull.next_present) == (Action.INSERTED, 18, False)
    table.arrive(18)
    pull = table.pull()
    assert (pull.action, pull.number) == (Action.PLAY, 18)
    assert (table.playout.lost, table.playout.inserted) == (0, 1)


def test_a_tightness_acts_at_once(virtual):
    table = Table(virtual, fixed_packets=-1, tightness=1.0)
    for number in range(1500):
        table.arrive(number, after_ns=WAY + (8 * MS if number % 50 == 0 else 0))
        table.pull()
    tight, depth = table.playout.tolerance_samples, table.playout.depth_samples
    table.playout.set_tightness(0.0)
    assert table.playout.tolerance_samples >= tight + 3 * 128
    actions = [action for action, _ in table.run(1500, 1505)]
    assert actions.count(Action.INSERTED) >= 3
    assert actions[1] == Action.INSERTED
    table.playout.set_tightness(1.0)
    assert table.playout.tolerance_samples == tight
    assert Action.MERGED in [action for action, _ in table.run(1506, 1508)]
    assert table.playout.depth_samples <= depth


def stop(table):
    """Nothing comes any more; return the pulls until the peer counts as stopped."""
    pulls = 0
    while table.pull().action != Action.STOPPED:
        pulls += 1
        assert pulls < 400
    return pulls


def test_a_peer_that_stops_has_lost_nothing(playing):
    playout = playing.playout
    pulls = stop(playing)
    assert pulls * T > 490 * MS
    assert playout.lost == 0
    assert playout.unsent == playout.next_number - 20
    assert playout.played == 20
    assert playing.arrive(20, after_ns=700 * MS) == [Arrival.LATE]
    assert playout.unsent == playout.next_number - 21
    assert playing.pull().action == Action.STOPPED


def test_a_peer_whose_packets_all_come_late_has_not_stopped(playing):
    playout = playing.playout
    for _ in range(500):
        number = playout.next_number - 1
        if number >= 20:
            assert playout.arrive(number, START + number * T + 300 * MS, False) in {Arrival.LATE, Arrival.DUPLICATED}
        assert playing.pull().action != Action.STOPPED
        assert playout.unsent == 0
    assert playout.late * T > 700 * MS


def test_a_peer_that_goes_on_is_played_as_at_the_start(playing):
    stop(playing)
    first = 20 + 400
    playing.now_ns = START + first * T
    assert playing.arrive(first, after_ns=6 * MS) == [Arrival.RESTARTED]
    seen = playing.run(first + 1, first + 20)
    about = [(action, n) for action, n in seen if n >= 0]
    assert about == [(Action.PLAY, n) for n in range(first, first + len(about))]
    assert len(about) >= 15
    assert playing.playout.lost == 0


def test_goodbye_stops_at_once(playing):
    playout = playing.playout
    waiting = playout.depth_samples // 128
    playout.stop(playing.now_ns)
    assert playing.pull().action == Action.STOPPED
    assert playout.dropped == waiting
    assert playout.played + playout.dropped == 20
    assert playing.arrive(20) == [Arrival.RESTARTED]


@pytest.mark.parametrize("jump", [1000, 1_000_000])
def test_a_jump_in_the_numbers_is_believed_when_a_second_packet_confirms_it(jump, playing):
    playout = playing.playout
    at_ns = playing.now_ns
    assert playout.arrive(20 + jump, at_ns, False) == Arrival.STRAY
    assert playing.arrive(20) == [Arrival.ON_TIME]
    assert playout.arrive(21 + jump, at_ns + T, False) == Arrival.STRAY
    assert playout.arrive(22 + jump, at_ns + 2 * T, False) == Arrival.RESTARTED
    for k in range(3, 20):
        assert playout.arrive(20 + jump + k, at_ns + k * T, False) == Arrival.ON_TIME
        pull = playout.pull(at_ns + k * T)
    assert (pull.action, playout.strays) == (Action.PLAY, 2)
    assert pull.number > 22 + jump


def test_numbers_that_began_anew_from_below(table):
    """`net` never does so; a peer's restart must not leave us deaf all the same."""
    table.playout.arrive(500_000, START, False)
    for k in range(1, 30):
        table.playout.arrive(500_000 + k, START + k * T, False)
        table.now_ns = START + k * T
        table.playout.pull(table.now_ns)
    at_ns = table.now_ns
    assert table.playout.arrive(7, at_ns, False) == Arrival.STRAY
    assert table.playout.arrive(8, at_ns + T, False) == Arrival.RESTARTED
    for k in range(2, 20):
        table.playout.arrive(7 + k, at_ns + k * T, False)
        pull = table.playout.pull(at_ns + k * T)
    assert pull.action == Action.PLAY
    assert pull.number < 30


def test_after_our_own_stall_the_backlog_is_cut_not_played_late(playing):
    """Our audio thread slept for 0.3 s: what came meanwhile is too old but for the newest."""
    playout = playing.playout
    before = playout.depth_samples
    playing.arrive(*range(20, 132))
    playing.now_ns += 112 * T
    playing.run(132, 400)
    assert playout.depth_samples == before
    assert playout.dropped == 112
    assert playout.lost == 0


def test_redundant_copies_play_but_do_not_teach(virtual):
    table = Table(virtual, fixed_packets=-1, tightness=0.0)
    table.run(0, 1600)
    before = table.playout.tolerance_samples
    for number in range(1601, 2600):
        if number % 2:
            table.arrive(number)
        elif number > 1602:
            table.arrive(number - 2, after_ns=WAY + 2 * T, recovered=True)
        table.pull()
    assert table.playout.tolerance_samples <= before


@pytest.mark.parametrize(
    ("period", "resampled", "margin"),
    [(128, False, 0), (64, False, 0), (256, False, 128), (96, False, 64), (128, True, 128), (64, True, 64)],
)
def test_the_earliness_of_pulls_is_laid_on_top(period, resampled, margin, virtual):
    """A packet is pulled at the beginning of the period in which it sounds; what is promised holds for the pull."""
    table = Table(virtual, period_samples=period, resampled=resampled)
    assert table.playout.tolerance_samples == 2 * 128 + 16
    table.arrive(0)
    at_ns, pull = START + WAY, None
    while pull is None or pull.action != Action.PLAY:
        pull = table.playout.pull(at_ns)
        at_ns += 10_000
    waited_samples = (at_ns - START - WAY) * 48e-6
    assert waited_samples == pytest.approx(2 * 128 + 16 + margin, abs=1)


def test_no_more_packets_are_kept_than_there_are_slots(virtual):
    table = Table(virtual, fixed_packets=64)
    kinds = [table.playout.arrive(n, START + n, False) for n in range(1000)]
    kept = [n for n, kind in enumerate(kinds) if kind.kept]
    waiting = [n for n in kept if n >= table.playout.next_number]
    assert max(waiting) - table.playout.next_number < SLOTS


def test_reset_forgets_the_stream_and_keeps_the_settings(playing):
    playing.playout.set_fixed_packets(5)
    playing.playout.reset()
    playout = playing.playout
    assert playout.pull(START).action == Action.STOPPED
    assert playout.played == playout.lost == playout.dropped == 0
    assert playout.tolerance_samples == 5 * 128 + 16


@pytest.mark.parametrize(
    "settings", [{"tightness": 2.0}, {"tightness": -1.0}, {"fixed_packets": 65}, {"fixed_packets": -2}]
)
def test_settings_out_of_range_are_refused(settings, virtual):
    with pytest.raises(InputError, match=next(iter(settings))):
        virtual.make_playout(**settings)


def test_it_holds_no_samples():
    """Slots are the caller's: the playout's own memory does not depend on the packet."""
    assert SLOTS & (SLOTS - 1) == 0
    assert not hasattr(Playout(), "samples")
