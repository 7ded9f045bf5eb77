"""The runtime's aarch64 build runs our files, through our code, and gives what the x86 build gives. Emulated by QEMU.

Emulated are the boards' processors, not QEMU's ``max``: on that of 7.2, which has SME, int8 comes out wrong (not on
that of 10.0), and no board here has SME.
"""

import fcntl
import importlib.metadata
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

import continuo

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("ai_edge_litert")

from continuo.convert.conversion import fold  # noqa: E402
from continuo.convert.flatbuffer import FORMATS, write_tflite  # noqa: E402
from continuo.convert.onnx_graph import graph_of  # noqa: E402
from continuo.convert.quantise import prepare  # noqa: E402
from continuo.models.bin2bin.refiner import Refiner  # noqa: E402

SOURCE = Path(continuo.__file__).parents[1]
PROCESSORS = {"pi4": ("cortex-a72", "0xd08"), "pi5": ("cortex-a76", "0xd0b")}
"""QEMU's name and the number in /proc/cpuinfo. The second multiplies int8 by dot products, the first cannot."""
MOST = {"float": 1e-6, "dynamic": 1e-3, "int8": 0.0}
"""Norm of the difference over norm of the output. In int8 every code is equal. In ``dynamic``, activations are rounded
by ranges found in floating point: what the last bit changes there may become a code."""
RUN = """
import platform, sys
import numpy as np
from continuo.firmware_py.rt.interpreter import load_interpreter
outputs = {}
for kind, inputs in np.load("inputs.npz").items():
    with open(f"{kind}.tflite", "rb") as file:
        interpreter = load_interpreter(file.read())
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs[kind] = []
    for x in inputs:
        interpreter.set_tensor(into["index"], x[None])
        interpreter.invoke()
        outputs[kind].append(interpreter.get_tensor(out["index"]))
np.savez(sys.argv[1], **outputs)
print(platform.machine(), type(interpreter).__module__)
"""


@dataclass(frozen=True)
class Aarch64:
    """What runs aarch64 programs here."""

    emulator: str
    root: Path
    """A Debian system's files, Python among them."""
    packages: Path
    """For PYTHONPATH: numpy and the runtime."""

    def run(self, processor: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """`RUN` in ``folder``, on one of `PROCESSORS`; writes NAME.npz there."""
        qemu_name, part = PROCESSORS[processor]
        system = folder / f"{processor}-system"
        cpus = system / "sys/devices/system/cpu"
        for path in (system / "proc", cpus):
            path.mkdir(parents=True)
        for path in self.root.iterdir():
            (system / path.name).symlink_to(path)
        # QEMU 7.2 shows the host's processor here, on which the runtime's detection fails with a null pointer.
        of_arm = f"CPU implementer: 0x41\nCPU architecture: 8\nCPU variant: 0\nCPU part: {part}\nCPU revision: 3\n\n"
        (system / "proc/cpuinfo").write_text("".join(f"processor: {core}\n{of_arm}" for core in range(4)))
        for name in ("possible", "present"):
            (cpus / name).write_text("0-3\n")
        emulate = [self.emulator, "-cpu", qemu_name, "-L", system, self.root / "usr/bin/python3"]
        return subprocess.run(
            [*emulate, "-c", RUN, f"{processor}.npz"],
            cwd=folder, env={"PYTHONPATH": f"{self.packages}:{SOURCE}"},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip


@pytest.fixture(scope="module")
def aarch64(pytestconfig: pytest.Config) -> Aarch64:
    """Fetched once, into pytest's cache (170 MB)."""
    if platform.machine() != "x86_64":
        pytest.skip("compares with x86")
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if not emulator:
        pytest.skip("no qemu-aarch64: apt-get install qemu-user")
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        pytest.skip("the aarch64 system is made of Debian's packages: no apt-get, or no dpkg-deb")
    cache = pytestconfig.cache.mkdir("aarch64")
    version = importlib.metadata.version("ai-edge-litert")
    root, packages = cache / "root", cache / f"ai-edge-litert-{version}"
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if not root.exists():
                with TemporaryDirectory(dir=cache) as folder:
                    _fetch_system(Path(folder)).rename(root)
            if not packages.exists():
                with TemporaryDirectory(dir=cache) as folder:
                    python = (root / "usr/bin/python3").readlink().name.removeprefix("python")
                    _fetch_packages(Path(folder) / "packages", python, version).rename(packages)
        except subprocess.SubprocessError as error:
            said = str(getattr(error, "stderr", None) or error)
            pytest.skip(f"offline, or else no aarch64 packages: {said.strip().splitlines()[-1]}")
    return Aarch64(emulator, root, packages)


@torch.no_grad()
def test_aarch64_gives_what_x86_gives(aarch64: Aarch64, ours: Refiner, seen_by, tmp_path: Path) -> None:
    inputs = {}
    for kind in FORMATS:
        network = fold(ours)
        scales = prepare(network, seen_by(ours, 8)) if kind == "int8" else None
        (tmp_path / f"{kind}.tflite").write_bytes(write_tflite(graph_of(network), kind, scales))
        x = network.encode(seen_by(ours, 4, seed=5)).permute(0, 2, 3, 1).contiguous().numpy()
        inputs[kind] = np.round(x / scales["input"].scale).clip(-127, 127).astype(np.int8) if scales else x
    np.savez(tmp_path / "inputs.npz", **inputs)
    here = subprocess.run(
        [sys.executable, "-c", RUN, "x86.npz"],
        cwd=tmp_path, env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert here.returncode == 0, here.stderr
    assert here.stdout.startswith("x86_64 ai_edge_litert")
    expected = np.load(tmp_path / "x86.npz")
    for processor in PROCESSORS:
        there = aarch64.run(processor, tmp_path)
        assert there.returncode == 0, there.stderr
        assert there.stdout.startswith("aarch64 ai_edge_litert")
        given = np.load(tmp_path / f"{processor}.npz")
        for kind, most in MOST.items():
            assert given[kind].dtype == expected[kind].dtype
            assert np.unique(expected[kind]).size > 200  # the network does something
            wanted = expected[kind].astype(np.float64)
            assert np.linalg.norm(given[kind] - wanted) <= most * np.linalg.norm(wanted), (processor, kind)


def _fetch_system(folder: Path) -> Path:
    """Debian's Python for arm64 and all that it needs, from this machine's sources; its own state is left alone."""
    state, root = folder / "apt", folder / "root"
    for path in (state / "lists/partial", state / "archives/partial", root):
        path.mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "APT::Architecture": "arm64", "APT::Architectures::": "arm64", "APT::Sandbox::User": "root",
        "Dir::State": state, "Dir::State::lists": state / "lists", "Dir::State::status": state / "status",
        "Dir::Cache": state, "Acquire::http::Timeout": 20,
    }  # fmt: skip
    apt_get = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
    _call(*apt_get, "update")
    # libstdc++ for the runtime and numpy.
    _call(*apt_get, "install", "-y", "--download-only", "--no-install-recommends", "python3", "libstdc++6")
    for package in (state / "archives").glob("*.deb"):
        _call("dpkg-deb", "-x", package, root)
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    return root


def _fetch_packages(folder: Path, python: str, version: str) -> Path:
    """The runtime in the version that runs here, and numpy."""
    platforms = [f"--platform=manylinux{of}_aarch64" for of in ("_2_28", "_2_27", "2014")]
    _call(
        sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps",
        "--only-binary=:all:", f"--python-version={python}", *platforms, f"--target={folder}",
        f"ai-edge-litert=={version}", "numpy",
    )  # fmt: skip
    return folder


def _call(*command: str | Path) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True, timeout=400)
