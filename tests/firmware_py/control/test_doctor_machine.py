import gzip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from continuo.firmware_py.control import doctor_machine as machine

CPU = "sys/devices/system/cpu"


def write(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text + "\n")


def verdicts(finding):
    return str(finding.verdict), bool(finding.remedy)


@pytest.mark.parametrize(
    ("version", "files", "verdict", "says"),
    [
        ("#1 SMP PREEMPT_RT Debian 6.1", {}, "ok", "PREEMPT_RT"),
        ("#1 SMP PREEMPT", {"sys/kernel/realtime": "1"}, "ok", "PREEMPT_RT"),
        ("#1 SMP PREEMPT", {}, "ok", "PREEMPT"),
        ("#1 SMP PREEMPT_DYNAMIC", {}, "ok", "not told"),
        ("#1 SMP PREEMPT_DYNAMIC", {"sys/kernel/debug/sched/preempt": "none voluntary (full)"}, "ok", "full"),
        ("#1 SMP PREEMPT_DYNAMIC", {"sys/kernel/debug/sched/preempt": "none (voluntary) full"}, "warn", "voluntary"),
        ("#1 SMP Debian", {}, "warn", "no PREEMPT"),
    ],
)
def test_kernel(tmp_path, version, files, verdict, says):
    for path, text in files.items():
        write(tmp_path, path, text)
    finding = machine.check_kernel(version, tmp_path)
    assert verdicts(finding) == (verdict, verdict == "warn")
    assert says in finding.says


def test_timers(tmp_path):
    assert "HZ is not told" in machine.check_timers("6.1", tmp_path).says
    write(tmp_path, "boot/config-6.1", "CONFIG_HZ_250=y\nCONFIG_HZ=250")
    assert machine.check_timers("6.1", tmp_path).says == "high-resolution timers, HZ=250"
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/config.gz").write_bytes(gzip.compress(b"CONFIG_HZ=1000\n"))
    assert machine.check_timers("6.1", tmp_path).says == "high-resolution timers, HZ=1000"


def test_governor(tmp_path):
    assert verdicts(machine.check_governor(tmp_path)) == ("ok", False)
    for cpu in range(2):
        write(tmp_path, f"{CPU}/cpu{cpu}/cpufreq/scaling_governor", "performance")
    assert verdicts(machine.check_governor(tmp_path)) == ("ok", False)
    write(tmp_path, f"{CPU}/cpu1/cpufreq/scaling_governor", "ondemand")
    finding = machine.check_governor(tmp_path)
    assert verdicts(finding) == ("warn", True)
    assert "ondemand, performance" in finding.says


def test_cpus():
    there = max(os.sched_getaffinity(0))
    assert "audio.cpu is 1023" in machine.check_cpus(1023, -1).says
    assert "conceal.cpu is 1023" in machine.check_cpus(-1, 1023).says
    assert f"share CPU {there}" in machine.check_cpus(there, there).says
    if len(os.sched_getaffinity(0)) > 1:
        assert verdicts(machine.check_cpus(there, -1)) == ("ok", False)


def test_what_is_tried_is_given_back():
    policy = os.sched_getscheduler(0)
    machine.check_priority(5)
    machine.check_memory()
    assert os.sched_getscheduler(0) == policy
    assert "VmLck:\t       0 kB" in Path("/proc/self/status").read_text()


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="takes root to give up privileges")
def test_a_user_without_privileges():
    program = (
        "from continuo.firmware_py.control.doctor_machine import check_memory, check_priority\n"
        "for finding in (check_priority(60), check_memory()): print(finding.verdict, finding.says, finding.remedy)"
    )
    limits = ("prlimit", "--rtprio=0", "--memlock=65536")
    command = (*limits, "setpriv", "--bounding-set", "-sys_nice,-ipc_lock", sys.executable, "-c", program)
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    priority, memory = done.stdout.splitlines()
    assert priority.startswith("fail SCHED_FIFO 60 is refused: Operation not permitted write `@audio - rtprio 95`")
    assert memory.startswith("warn memory cannot be locked: Cannot allocate memory write `@audio - memlock unlimited`")
