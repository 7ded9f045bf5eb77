"""The board's refiner gives what torch's gives; it needs extra `convert` to make a file to run."""

import gc
import sys
import tracemalloc

import numpy as np
import pytest
from numba import config

from continuo.firmware_py.errors import InputError, MissingError
from continuo.firmware_py.rt.interpreter import load_interpreter
from continuo.firmware_py.rt.spec import StreamSpec
from continuo.firmware_py.rt.timing import Rung

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("ai_edge_litert")

from continuo.convert.conversion import fold  # noqa: E402
from continuo.convert.flatbuffer import write_tflite  # noqa: E402
from continuo.convert.onnx_graph import graph_of  # noqa: E402
from continuo.convert.package import write_package  # noqa: E402
from continuo.convert.quantise import prepare  # noqa: E402
from continuo.firmware_py.rt.refiner_tflite import TfliteRefiner  # noqa: E402
from continuo.models.bin2bin.refiner import Refiner, RefinerConfig  # noqa: E402
from continuo.models.bin2bin.runtime import TorchRefiner  # noqa: E402

JIT = not config.DISABLE_JIT
SPEC = StreamSpec(44_100, 512)
AHEAD = 1088
SHORT = {"hop": 64, "columns": 64, "dropout": 0.0}
VARIANTS = {
    "complex": RefinerConfig((4,) * 7, inputs="complex", output="residual", fade_in_samples=32, **SHORT),
    "ours": RefinerConfig(
        (4,) * 7, inputs="relative", output="gain", time_halvings=3, fade_in_samples=32, **SHORT | {"columns": 48}
    ),
    "repetition": RefinerConfig(
        (4,) * 7, inputs="relative", output="gain", time_halvings=3, repetition=True, **SHORT | {"columns": 48}
    ),
    "relu": RefinerConfig((4,) * 7, **SHORT),
    "sigmoid of root": RefinerConfig((4,) * 7, scale="sqrt", output="sigmoid", **SHORT),
    "gain of log": RefinerConfig((4,) * 7, scale="log", output="gain", **SHORT),
    "relu of log": RefinerConfig((4,) * 7, scale="log", **SHORT),
    "paper": RefinerConfig((4,) * 7),
}
if not JIT:
    VARIANTS = {name: VARIANTS[name] for name in ("complex", "repetition", "gain of log")}


def network(config_):
    torch.manual_seed(2)
    refiner = Refiner(config_).eval()
    torch.nn.init.normal_(refiner.generator.last.weight, std=0.1)
    return refiner


def music(samples, seed=0):
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / 44_100
    tones = sum(np.sin(2 * np.pi * f * t + rng.uniform(0, 6)) / k for k, f in enumerate((196, 440, 1320, 5000), 1))
    return (0.2 * tones + 0.002 * rng.normal(size=samples)).astype(np.float32)


def written(refiner, kind, path):
    own = fold(refiner)
    scales = None
    if kind == "int8":
        x = np.stack([music(refiner.spectrum.chunk_samples, n) for n in range(8)])
        with torch.no_grad():
            seen = refiner.analyse(
                torch.from_numpy(x), torch.zeros(x.shape), torch.from_numpy(0.9 * x), torch.full((8,), 0.9)
            ).seen
        scales = prepare(own, seen)
    write_package(path, write_tflite(graph_of(own), kind, scales), refiner.config, own)
    return path


def played(refiner, seed=3, level=1.0, lost=True):
    refiner.prepare(SPEC, AHEAD)
    x = level * music(refiner.context_samples + AHEAD, seed)
    context, prediction = x[: refiner.context_samples], x[refiner.context_samples :]
    concealed = np.zeros_like(context)
    concealed[-700:] = lost
    out = np.zeros(AHEAD, np.float32)
    return refiner.refine(context, concealed, prediction, out), out, prediction


@pytest.mark.parametrize("variant", VARIANTS)
def test_float_file_gives_what_torch_gives(variant, tmp_path):
    refiner = network(VARIANTS[variant])
    accepted, out, prediction = played(TfliteRefiner(written(refiner, "float", tmp_path / "f.tflite")))
    expected_accepted, expected, _ = played(TorchRefiner(refiner, Rung.LITE))
    assert accepted == expected_accepted
    assert np.abs(expected[:1024] - prediction[:1024]).max() > 1e-3  # the network does something
    np.testing.assert_allclose(out, expected, atol=2e-5 * max(1.0, np.abs(expected).max()))
    assert np.array_equal(out[1024:], prediction[1024:])


@pytest.mark.parametrize("kind", ["dynamic", "int8"])
def test_rounded_files_stay_close(kind, tmp_path):
    refiner = network(VARIANTS["repetition"])
    _, out, prediction = played(TfliteRefiner(written(refiner, kind, tmp_path / "f.tflite")))
    _, expected, _ = played(TorchRefiner(refiner, Rung.LITE))
    change = expected - prediction
    assert np.linalg.norm(out - expected) < 0.1 * np.linalg.norm(change)


@pytest.mark.parametrize("level", [0.0, 1e-6, 5.0])
def test_silence_and_excess_are_finite(level, tmp_path):
    path = written(network(VARIANTS["repetition"]), "int8", tmp_path / "f")
    accepted, out, _ = played(TfliteRefiner(path), level=level)
    assert np.isfinite(out).all()
    if level == 0.0:
        assert not (accepted and out.any())  # the prediction, silence, stands


def test_nothing_is_left_over_from_call_to_call(tmp_path):
    refiner = TfliteRefiner(written(network(VARIANTS["repetition"]), "int8", tmp_path / "f"))
    _, first, _ = played(refiner, seed=4)
    context, concealed = (np.zeros(refiner.context_samples, np.float32) for _ in range(2))
    refiner.refine(context, concealed, music(AHEAD, 9), np.zeros(AHEAD, np.float32))
    x = music(refiner.context_samples + AHEAD, 4)
    concealed[-700:] = 1.0
    again = np.zeros(AHEAD, np.float32)
    refiner.refine(x[: refiner.context_samples], concealed, x[refiner.context_samples :], again)
    assert again.tobytes() == first.tobytes()


@pytest.mark.skipif(not JIT, reason="uncompiled kernels allocate")
def test_nothing_is_allocated_once_prepared(tmp_path):
    refiner = TfliteRefiner(written(network(VARIANTS["repetition"]), "int8", tmp_path / "f"))
    refiner.prepare(SPEC, AHEAD)
    x = music(refiner.context_samples + AHEAD)
    context, prediction, out = x[: refiner.context_samples], x[refiner.context_samples :], np.zeros(AHEAD, np.float32)
    for _ in range(3):
        refiner.refine(context, context, prediction, out)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        refiner.refine(context, context, prediction, out)
        before, _ = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        for _ in range(200):
            refiner.refine(context, context, prediction, out)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert after - before < 1024
    assert peak - before < 2048  # Python's own objects; a chunk has 18,176 bytes


@pytest.mark.parametrize("contents", [None, b"", b"TFL3 but not really", b"x" * 5000])
def test_what_is_no_refiner_is_an_error(contents, tmp_path):
    path = tmp_path / "f.tflite"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(InputError, match="continuo convert"):
        TfliteRefiner(path)


def test_threads_change_nothing(tmp_path):
    path = written(network(VARIANTS["repetition"]), "int8", tmp_path / "f")
    one, two = (played(TfliteRefiner(path, threads=threads))[1] for threads in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_without_an_interpreter_the_error_says_what_to_install(monkeypatch):
    for package in ("ai_edge_litert", "tflite_runtime"):
        monkeypatch.setitem(sys.modules, f"{package}.interpreter", None)
    with pytest.raises(MissingError, match="pip install"):
        load_interpreter(b"")
