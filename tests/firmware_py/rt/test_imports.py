"""Two worlds, one seam: `rt` knows nothing of control and command line, and nothing on the box knows torch."""

import subprocess
import sys

import pytest

WALK = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        if (error.name or "").startswith("continuo"):
            raise
        print("not installed here:", error.name, file=sys.stderr)
print("\\n".join(sys.modules))
"""


def modules_after_importing(package):
    done = subprocess.run([sys.executable, "-c", WALK, package], capture_output=True, text=True, check=True)
    names = set(done.stdout.split())
    assert package in names
    return names


@pytest.fixture(scope="module")
def rt_modules():
    return modules_after_importing("continuo.firmware_py.rt")


def test_every_module_of_rt_was_walked(rt_modules):
    assert {f"continuo.firmware_py.rt.{name}" for name in ("burg", "concealer", "predictor", "splice")} <= rt_modules


def test_rt_imports_nothing_from_control_or_cli(rt_modules):
    ours = {name for name in rt_modules if name.startswith("continuo.firmware_py.")}
    others = {name for name in ours if not name.startswith("continuo.firmware_py.rt")}
    assert others <= {"continuo.firmware_py.errors"}


def test_rt_imports_no_heavy_library(rt_modules):
    assert not {"torch", "tensorflow", "matplotlib", "soundfile", "typer", "rich"} & rt_modules


def test_firmware_imports_neither_torch_nor_tensorflow():
    roots = {name.partition(".")[0] for name in modules_after_importing("continuo.firmware_py")}
    assert "continuo" in roots
    assert not {"torch", "tensorflow"} & roots


def test_the_walk_sees_what_a_module_imports(tmp_path):
    """The proof can fail: a package that imports something shows it."""
    package = tmp_path / "leaky"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "deep.py").write_text("import wave")
    done = subprocess.run(
        [sys.executable, "-c", WALK, "leaky"], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "wave" in done.stdout.split()
