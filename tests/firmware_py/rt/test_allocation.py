"""No allocation once prepared.

numpy reports its buffers to tracemalloc in a domain of their own, so buffers that stay are counted exactly; buffers
that come and go show in the peak of each call, which must stay far below one channel of one packet. Kernels are shown
not to allocate by their LLVM code.
"""

import gc
import tracemalloc
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from numba import config, njit

from continuo.firmware_py.methods import METHODS
from continuo.firmware_py.rt import burg, extrapolate, levinson, splice
from continuo.firmware_py.rt.concealer import Concealer
from continuo.firmware_py.rt.predictor import BurgPredictor, PaperPredictor
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import Rung

JIT = not config.DISABLE_JIT
SPEC = StreamSpec(44_100, 1024, 2)
PACKETS = 3000 if JIT else 12
TRANSIENT_BYTES = 2048
"""Python's own objects (ints, views, frames) come and go within this; one channel of a packet has 4096 bytes."""
METHODS_HERE = {name: METHODS[name] for name in ("lpc", "lpc-paper", "repeat", "zero")}
if not JIT:
    METHODS_HERE["lpc"] = replace(METHODS["lpc"], predictor=partial(BurgPredictor, 2, 32))
    METHODS_HERE["lpc-paper"] = replace(METHODS["lpc-paper"], predictor=partial(PaperPredictor, 2, 32))


def numpy_bytes():
    """Live bytes of numpy buffers that were allocated since tracing began."""
    snapshot = tracemalloc.take_snapshot()
    return sum(
        t.size for t in snapshot.filter_traces([tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)]).traces
    )


def run(method, packets=PACKETS, spec=SPEC):
    """Play packets with losses of every kind; return live numpy bytes, growth of all memory, peak within one call."""
    concealer = Concealer(method)
    concealer.prepare(spec)
    rng = np.random.default_rng(0)
    packet = rng.uniform(-0.5, 0.5, (spec.packet_samples, spec.channels)).astype(np.float32)
    lost = rng.uniform(size=packets) < 0.1
    lost[packets // 2 :][:20] = True  # past the fade
    lost = lost.tolist()
    for warm_up in (packet, None, None, packet):
        concealer.process(warm_up)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        concealer.process(packet)
        before, _ = tracemalloc.get_traced_memory()
        peak = 0
        for is_lost in lost:
            start, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            concealer.prepare_replacement()
            concealer.process(None if is_lost else packet)
            peak = max(peak, tracemalloc.get_traced_memory()[1] - start)
        growth = tracemalloc.get_traced_memory()[0] - before
        return numpy_bytes(), growth, peak
    finally:
        tracemalloc.stop()
        gc.enable()


class Leaky:
    """A refiner that allocates as it runs: a buffer that goes again, or one that stays."""

    rung = Rung.LITE
    context_samples = 1
    keeps = False

    def prepare(self, spec, predict_samples):
        del spec, predict_samples
        self.kept = None

    def refine(self, context, concealed, prediction, out):
        del context, concealed
        fresh = prediction * 2
        out[:] = fresh
        if self.keeps:
            self.kept = fresh
        return True


class Keeper(Leaky):
    keeps = True


@pytest.mark.parametrize("name", METHODS_HERE)
def test_nothing_is_allocated_after_prepare(name):
    live, growth, peak = run(METHODS_HERE[name])
    assert live == 0
    assert growth < TRANSIENT_BYTES
    assert peak < TRANSIENT_BYTES


def test_a_buffer_that_comes_and_goes_is_noticed():
    _, _, peak = run(replace(METHODS_HERE["repeat"], refiner=Leaky), 12)
    assert peak > 2 * TRANSIENT_BYTES


def test_a_buffer_that_stays_is_noticed():
    live, growth, _ = run(replace(METHODS_HERE["repeat"], refiner=Keeper), 12)
    assert live >= SPEC.packet_samples * 4
    assert growth >= SPEC.packet_samples * 4


def kernels():
    """The kernels that Python calls; those that they call in turn (private ones) are part of their code."""
    return {
        f"{module.__name__.rpartition('.')[2]}.{name}": kernel
        for module in (burg, extrapolate, levinson, splice)
        for name, kernel in vars(module).items()
        if hasattr(kernel, "py_func") and kernel.py_func.__module__ == module.__name__ and not name.startswith("_")
    }


def allocates(kernel, signature):
    """Whether the kernel's LLVM code, compiled anew for that signature, asks numba's runtime for memory."""
    fresh = njit(fastmath=kernel.targetoptions.get("fastmath", False))(kernel.py_func)
    fresh.compile(signature)
    return any("NRT_MemInfo_alloc" in code or "NRT_Allocate" in code for code in fresh.inspect_llvm().values())


@pytest.mark.skipif(not JIT, reason="there is no LLVM code uncompiled")
def test_kernels_do_not_allocate():
    for method in (METHODS["lpc"], METHODS["lpc-paper"], replace(METHODS["repeat"], refiner=Leaky)):
        Concealer(method).prepare(SPEC)  # compiles or loads every kernel for the types that it is called with
    assert {"burg.burg_fit", "splice.play_received"} <= set(kernels())
    for name, kernel in kernels().items():
        assert kernel.signatures, name
        assert not any(allocates(kernel, signature) for signature in kernel.signatures), name


@pytest.mark.skipif(not JIT, reason="there is no LLVM code uncompiled")
def test_a_kernel_that_allocates_is_noticed():
    @njit
    def doubled(x):
        return x * 2

    @njit
    def summed(x):
        return doubled(x).sum() + doubled(x)[0]

    for kernel in (doubled, summed):
        kernel(np.zeros(4, np.float32))
        assert allocates(kernel, kernel.signatures[0])


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_nothing_is_compiled_after_prepare():
    """A packet of another layout or type must not send numba compiling on the audio thread."""
    concealer = Concealer(METHODS["lpc"])
    concealer.prepare(SPEC)
    before = {name: len(kernel.signatures) for name, kernel in kernels().items()}
    packet = np.zeros((1024, 4), np.float32)
    read_only = np.frombuffer(packet[:, :2].tobytes(), np.float32).reshape(1024, 2)
    for p in (packet[:, ::2], None, read_only, None, None, np.asfortranarray(read_only), read_only.astype(np.float64)):
        concealer.process(p)
    assert {name: len(kernel.signatures) for name, kernel in kernels().items()} == before
