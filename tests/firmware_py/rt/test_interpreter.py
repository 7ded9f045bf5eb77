"""tflite-runtime runs our files as its successor does, in an environment of its own: it needs numpy 1."""

import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

import continuo
from continuo.firmware_py.errors import InputError
from continuo.firmware_py.rt.interpreter import load_interpreter

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("ai_edge_litert")

from continuo.convert.conversion import fold  # noqa: E402
from continuo.convert.flatbuffer import FORMATS, write_tflite  # noqa: E402
from continuo.convert.onnx_graph import graph_of  # noqa: E402
from continuo.convert.quantise import prepare  # noqa: E402
from continuo.models.bin2bin.refiner import Refiner, RefinerConfig  # noqa: E402

RUN = """
import sys
import numpy as np
from continuo.firmware_py.errors import InputError
from continuo.firmware_py.rt.interpreter import load_interpreter
for kind in sys.argv[1:]:
    try:
        interpreter = load_interpreter(open(f"{kind}.tflite", "rb").read())
    except InputError as error:
        print(f"{kind}: {error}")
        continue
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(into["index"], np.load(f"{kind}-in.npy"))
    interpreter.invoke()
    np.save(f"{kind}-out.npy", interpreter.get_tensor(out["index"]))
print(type(interpreter).__module__)
"""
LEAST_DB = {"float": 90.0, "int8": 30.0}
"""Signal-to-difference ratio. The older kernels round sums differently: by a code, in each of 16 layers."""


@pytest.mark.parametrize("contents", [b"", b"no network at all"])
def test_what_is_no_network_is_an_error(contents):
    with pytest.raises(InputError, match="cannot run"):
        load_interpreter(contents)


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info >= (3, 12), reason="tflite-runtime has no wheel for this Python")
def test_tflite_runtime_gives_the_same(tmp_path):
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "tflite-runtime==2.14.0", "numpy<2"]
    subprocess.run(install, check=True, timeout=500)
    torch.manual_seed(0)
    config = RefinerConfig((8,) * 7, hop=64, columns=64, inputs="complex", output="residual", dropout=0.0)
    refiner = Refiner(config).eval()
    torch.nn.init.normal_(refiner.generator.last.weight, std=0.1)
    seen = torch.randn(8, 5, 256, 64)
    expected = {}
    for kind in FORMATS:
        network = fold(refiner)
        scales = prepare(network, seen) if kind == "int8" else None
        contents = write_tflite(graph_of(network), kind, scales)
        (tmp_path / f"{kind}.tflite").write_bytes(contents)
        ours = load_interpreter(contents)
        (into,), (out,) = ours.get_input_details(), ours.get_output_details()
        x = network.encode(seen[:1]).permute(0, 2, 3, 1).numpy()
        if kind == "int8":
            x = np.clip(np.round(x / into["quantization"][0]), -127, 127)
        x = np.ascontiguousarray(x.astype(into["dtype"]))
        np.save(tmp_path / f"{kind}-in.npy", x)
        ours.set_tensor(into["index"], x)
        ours.invoke()
        expected[kind] = ours.get_tensor(out["index"]).astype(np.float64)
    source = Path(continuo.__file__).parents[1]
    done = subprocess.run(
        [python, "-c", RUN, *FORMATS], cwd=tmp_path, env={"PYTHONPATH": str(source)},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    refused, module = done.stdout.strip().splitlines()
    assert refused.startswith("dynamic: tflite_runtime cannot run this network")
    assert module.startswith("tflite_runtime")
    for kind in ("float", "int8"):
        given = np.load(tmp_path / f"{kind}-out.npy").astype(np.float64)
        ratio = np.linalg.norm(expected[kind]) / np.linalg.norm(given - expected[kind])
        assert 20 * np.log10(ratio) >= LEAST_DB[kind], kind
