import numpy as np
import pytest

from continuo.firmware_py.net.numbering import PacketNumbering, signed16

PACKET_NS = 1_000_000


def numbered(numbering, sequence, arrival_ns=0):
    number = numbering.number(sequence & 0xFFFF, arrival_ns)
    if number is not None:
        numbering.arrive(number)
    return number


@pytest.mark.parametrize(("difference", "short"), [(0, 0), (1, 1), (65_535, -1), (32_768, -32_768), (-65_535, 1)])
def test_the_short_way_round(difference, short):
    assert signed16(difference) == short


def test_numbers_grow_through_many_wraps_with_losses_and_reordering():
    rng = np.random.default_rng(0)
    numbering = PacketNumbering(PACKET_NS)
    sent = np.arange(64_000, 64_000 + 300_000, 7)[: 300_000 // 7]
    order = np.argsort(np.arange(sent.size) + rng.integers(0, 5, sent.size), kind="stable")
    keep = rng.random(sent.size) < 0.9
    first = int(sent[order[0]])
    for index in order:
        if keep[index] or sent[index] == first:
            number = numbered(numbering, int(sent[index]), int(sent[index]) * PACKET_NS)
            assert number == 65_536 + first % 65_536 + int(sent[index]) - first


def test_losses_are_those_that_never_came():
    numbering = PacketNumbering(PACKET_NS)
    for sequence in (10, 11, 14, 13, 13, 15, 20):
        numbered(numbering, sequence)
    assert numbering.lost == 11 - 6  # 12 and 16 to 19; the second 13 does not make up for any
    assert numbering.arrived == 6


def test_one_packet_from_far_off_is_dropped_and_changes_nothing():
    numbering = PacketNumbering(PACKET_NS)
    start = numbered(numbering, 100)
    assert numbered(numbering, 20_000) is None
    assert numbered(numbering, 101) == start + 1
    assert numbered(numbering, 20_001) is None  # no successor of the last one from afar
    assert numbering.restarts == 0


@pytest.mark.parametrize("jump", [3000, 30_000, -102, -30_000])
def test_a_jump_that_goes_on_is_a_restart_that_takes_its_time(jump):
    numbering = PacketNumbering(PACKET_NS)
    last = numbered(numbering, 40_000, 0)
    assert numbered(numbering, 40_000 + jump, 499 * PACKET_NS) is None
    assert numbered(numbering, 40_001 + jump, 500 * PACKET_NS) == last + 500
    assert numbered(numbering, 40_002 + jump, 501 * PACKET_NS) == last + 501
    assert numbering.restarts == 1
    assert numbering.lost == 0


@pytest.mark.parametrize("step", [2999, -100])
def test_what_may_be_loss_or_reordering_is_no_jump(step):
    numbering = PacketNumbering(PACKET_NS)
    last = numbered(numbering, 40_000)
    assert numbered(numbering, 40_000 + step) == last + step


@pytest.mark.parametrize(
    ("first", "second", "packets", "step", "restarts"),
    [
        pytest.param(0, 20_000, 20_100, 20_000, 0, id="a sequence that kept time goes on"),
        pytest.param(5000, 0, 2000, 2000, 1, id="another sequence begins at once"),
    ],
)
def test_after_a_silence(first, second, packets, step, restarts):
    numbering = PacketNumbering(PACKET_NS)
    last = numbered(numbering, first, 0)
    numbering.interrupt()
    assert numbered(numbering, second, packets * PACKET_NS) == last + step
    assert numbering.restarts == restarts


def test_a_restart_always_goes_up():
    numbering = PacketNumbering(PACKET_NS)
    last = numbered(numbering, 7, 1000)
    assert numbering.restart(60_000, 1000) == last + 1


def test_a_copy_is_wanted_once_and_only_where_nothing_came():
    numbering = PacketNumbering(PACKET_NS)
    start = numbered(numbering, 10)
    numbered(numbering, 13)
    assert not numbering.recover(start)
    assert numbering.recover(start + 2)
    assert not numbering.recover(start + 2)
    assert not numbering.recover(start + 4)  # from the future
    assert not numbering.recover(start - 2000)  # too old to tell
    assert numbering.lost == 2  # the network lost it all the same
    numbering.restart(50_000, PACKET_NS)
    assert not numbering.recover(start + 1)  # from before the restart
