"""Playout, drift and resampler allocate nothing once prepared: shown as in `test_allocation.py`."""

import gc
import tracemalloc

import numpy as np
import pytest
from numba import config, njit

from continuo.firmware_py.rt import drift, merge, playout_kernels, resampler, timeline, tolerance
from continuo.firmware_py.rt.drift import DriftEstimator
from continuo.firmware_py.rt.merge import Merger
from continuo.firmware_py.rt.playout import Action
from continuo.firmware_py.rt.resampler import Resampler
from continuo.firmware_py.rt.spec import StreamSpec

JIT = not config.DISABLE_JIT
SPEC = StreamSpec(48_000, 1024, 2)
PACKETS = 4000
TRANSIENT_BYTES = 2048
"""Python's own objects come and go within this; one channel of a packet has 4096 bytes."""
MODULES = (drift, merge, playout_kernels, resampler, timeline, tolerance)


@pytest.fixture(scope="module")
def parts(virtual):
    """Prepared, and warm."""
    playout, estimator = virtual.make_playout(SPEC, period_samples=1024, resampled=True), DriftEstimator()
    merger, sampler = Merger(), Resampler()
    estimator.prepare(SPEC, playout.arrivals, 1024)
    merger.prepare(SPEC)
    sampler.prepare(SPEC)
    return playout, estimator, merger, sampler


def steps(virtual, parts):
    """One period's work after the other, over a network with everything in it; yields after each."""
    playout, estimator, merger, sampler = parts
    network = virtual.Network(jitter_ms=6.0, loss=0.1, duplicate=0.1, stall=0.01, stall_ms=300.0, sender_ppm=200.0)
    times, numbers = (x.tolist() for x in virtual.arrivals(network, PACKETS, 1, SPEC))
    actions = set()
    at, level, packet = 0, 0, np.full((1024, 2), 0.1, np.float32)
    for period in range(PACKETS):
        now_ns = virtual.START_NS + round((period + 0.5) * virtual.packet_ns(SPEC))
        while at < len(times) and times[at] <= now_ns:
            playout.arrive(numbers[at], times[at], numbers[at] % 7 == 0)
            at += 1
        if period % 500 == 300:
            playout.set_fixed_packets(period // 500 % 3)
        ratio = estimator.period(now_ns, 1024 * period, playout.excess_samples)
        while level < 1024:
            pull = playout.pull(now_ns, level)
            actions.add(pull.action)
            block = merger.merge(packet, packet) if pull.action == Action.MERGED else packet
            sampler.process(block, ratio)
            level += sampler.samples
        level -= 1024
        yield actions


@pytest.mark.skipif(not JIT, reason="too slow uncompiled, where Python makes an object of every sample")
def test_nothing_is_allocated_after_prepare(virtual, parts):
    running = steps(virtual, parts)
    for _ in range(10):
        next(running)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        next(running)
        before, _ = tracemalloc.get_traced_memory()
        peak, start = 0, before
        for actions in running:
            seen = actions
            peak = max(peak, tracemalloc.get_traced_memory()[1] - start)
            start, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
        growth = tracemalloc.get_traced_memory()[0] - before
        traces = tracemalloc.take_snapshot().filter_traces([tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)])
        live = sum(trace.size for trace in traces.traces)
    finally:
        tracemalloc.stop()
        gc.enable()
    assert {Action.PLAY, Action.LOST, Action.INSERTED, Action.MERGED} <= seen
    assert live == 0
    assert growth < TRANSIENT_BYTES
    assert peak < 2 * TRANSIENT_BYTES


@pytest.mark.skipif(not JIT, reason="there is no LLVM code uncompiled")
def test_kernels_do_not_allocate(parts):
    assert parts
    kernels = {
        f"{module.__name__}.{name}": kernel
        for module in MODULES
        for name, kernel in vars(module).items()
        if hasattr(kernel, "py_func") and kernel.py_func.__module__ == module.__name__ and kernel.signatures
    }
    assert {name.rpartition(".")[2] for name in kernels} >= {"arrive", "pull", "stop", "resample", "steer"}
    for name, kernel in kernels.items():
        assert len(kernel.signatures) == 1 or name.rpartition(".")[2].startswith("_"), name
        for signature in kernel.signatures:
            fresh = njit(fastmath=kernel.targetoptions.get("fastmath", False))(kernel.py_func)
            fresh.compile(signature)
            for code in fresh.inspect_llvm().values():
                assert "NRT_MemInfo_alloc" not in code, name
                assert "NRT_Allocate" not in code, name


@pytest.mark.skipif(not JIT, reason="nothing is compiled")
def test_nothing_is_compiled_after_prepare(virtual, parts):
    """Not even for numpy's integers, another memory layout or a whole-number ratio."""
    kernels = [kernel for module in MODULES for kernel in vars(module).values() if hasattr(kernel, "signatures")]
    playout, estimator, merger, sampler = parts
    before = [len(kernel.signatures) for kernel in kernels]
    playout.reset()
    number, now_ns = np.int64(5), np.int64(virtual.START_NS)
    playout.arrive(int(number), int(now_ns), True)
    playout.pull(int(now_ns), 0)
    playout.set_tightness(1)
    playout.stop(int(now_ns))
    estimator.period(int(now_ns), 0, 0.0)
    packet = np.zeros((1024, 4), np.float32)
    merger.merge(packet[:, ::2], np.asfortranarray(packet[:, :2]))
    sampler.process(packet[:, ::2], 1.0)
    assert [len(kernel.signatures) for kernel in kernels] == before
