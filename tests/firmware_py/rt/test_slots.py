import subprocess
import sys
import time

import numpy as np
import pytest

from continuo.firmware_py.errors import InputError
from continuo.firmware_py.rt.shared import SharedMemory
from continuo.firmware_py.rt.slots import SLOTS, ReplacementSlots
from continuo.firmware_py.rt.timing import Rung

SHAPE = (2, 1100)


def filled(value):
    return np.full(SHAPE, value, np.float32)


def test_the_best_level_is_taken():
    slots, out = ReplacementSlots(*SHAPE), filled(0)
    assert slots.take(0, out) == -1
    assert slots.take(5, out) == -1
    slots.publish(5, 0, Rung.LPC, 11, 12, filled(1))
    assert slots.take(5, out) == 0
    assert (slots.rung, slots.work_ns, slots.ready_ns) == (Rung.LPC, 11, 12)
    slots.publish(5, 1, Rung.LITE, 21, 22, filled(2))
    assert slots.take(5, out) == 1
    assert (out == 2).all()
    assert (slots.rung, slots.work_ns) == (Rung.LITE, 21)
    assert slots.take(5, out, above=2) == -1
    assert slots.take(4, out) == -1
    assert slots.take(5 + SLOTS, out) == -1


def test_a_place_that_is_written_is_passed_over():
    """A writer that died in the middle: the rung below is taken; its successor publishes there again."""
    slots, out = ReplacementSlots(*SHAPE), filled(0)
    slots.publish(3, 0, Rung.LPC, 0, 0, filled(1))
    slots.publish(3, 1, Rung.LITE, 0, 0, filled(2))
    slots._heads[1, 3, 0] += 1
    assert slots.take(3, out) == 0
    assert (out == 1).all()
    slots.publish(3, 1, Rung.LITE, 0, 0, filled(3))
    assert slots.take(3, out) == 1
    assert (out == 3).all()


def test_a_small_buffer_is_refused():
    with pytest.raises(InputError, match="writable bytes"):
        ReplacementSlots(*SHAPE, np.zeros(100, np.uint8))


WRITER = """
import sys
import time
from pathlib import Path
import numpy as np
from continuo.firmware_py.rt.shared import SharedMemory
from continuo.firmware_py.rt.slots import ReplacementSlots
shape = (2, 1100)
memory = SharedMemory(Path(sys.argv[1]), {"slots": ReplacementSlots.bytes_needed(*shape), "go": 8}, create=False)
slots, go = ReplacementSlots(*shape, memory.block("slots")), memory.block("go")
count = 0
while not go[0]:
    count += 1
    slots.publish(5, 0, 3, count, count, np.full(shape, count % 1000, np.float32))
    time.sleep(float(sys.argv[2]))
"""


def test_nothing_torn_is_ever_taken(tmp_path, jit):
    """One writer overwrites the same place as fast as it can, against all custom; whatever is taken is whole.

    Uncompiled, copying takes as long as the writer's work, so without rests nothing would ever be taken.
    """
    path = tmp_path / "memory"
    blocks = {"slots": ReplacementSlots.bytes_needed(*SHAPE), "go": 8}
    memory = SharedMemory(path, blocks, create=True)
    slots, out = ReplacementSlots(*SHAPE, memory.block("slots")), filled(0)
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path), "0" if jit else "0.01"])
    try:
        taken, seen = 0, set()
        until = time.monotonic() + 30
        while taken < (3000 if jit else 20) or len(seen) < 5:
            assert writer.poll() is None
            assert time.monotonic() < until
            if slots.take(5, out) == 0:
                taken += 1
                seen.add(slots.work_ns)
                assert slots.work_ns == slots.ready_ns
                assert (out == np.float32(slots.work_ns % 1000)).all()
    finally:
        memory.block("go")[0] = 1
        assert writer.wait(10) == 0
