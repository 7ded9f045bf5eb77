"""Whether a machine lets a process be in time: priority, memory, kernel, clock rates."""

import ctypes
import gzip
import os
import re
import time
from pathlib import Path

from .finding import Finding, Verdict

__all__ = ["check_cpus", "check_governor", "check_kernel", "check_memory", "check_priority", "check_timers"]

_ROOT = Path("/")
_MCL_CURRENT, _MCL_FUTURE = 1, 2
_LIMITS = "/etc/security/limits.d/continuo.conf"
_FINE_NS = 1_000


def check_priority(priority: int) -> Finding:
    """Take SCHED_FIFO for a moment."""
    name = "real-time priority"
    if priority == 0:
        return Finding(name, Verdict.WARN, "audio.priority is 0: none is asked for", "set audio.priority = 60")
    policy, parameter = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        remedy = f"write `@audio - rtprio 95` to {_LIMITS}, add the user to the group audio, log in again"
        return Finding(name, Verdict.FAIL, f"SCHED_FIFO {priority} is refused: {error.strerror}", remedy)
    os.sched_setscheduler(0, policy, parameter)
    return Finding(name, Verdict.OK, f"SCHED_FIFO {priority} is granted")


def check_memory() -> Finding:
    """Lock all memory for a moment, as the audio process does."""
    name = "locked memory"
    library = ctypes.CDLL(None, use_errno=True)
    if library.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        says = f"memory cannot be locked: {os.strerror(ctypes.get_errno())}"
        remedy = f"write `@audio - memlock unlimited` to {_LIMITS}, add the user to the group audio, log in again"
        return Finding(name, Verdict.WARN, says, remedy)
    library.munlockall()
    return Finding(name, Verdict.OK, "memory can be locked")


def check_kernel(version: str = os.uname().version, root: Path = _ROOT) -> Finding:
    """Whether the kernel interrupts itself for a task that must run now.

    Parameters
    ----------
    version
        As ``uname -v`` says.
    root
        Where ``sys`` is.
    """
    name = "kernel"
    remedy = "boot with preempt=full, or install a PREEMPT_RT kernel (Debian: linux-image-rt-amd64 or -arm64)"
    if "PREEMPT_RT" in version or _text(root / "sys/kernel/realtime") == "1":
        return Finding(name, Verdict.OK, "PREEMPT_RT")
    if "PREEMPT_DYNAMIC" in version:
        chosen = re.search(r"\((\w+)\)", _text(root / "sys/kernel/debug/sched/preempt"))
        if chosen is None:
            return Finding(name, Verdict.OK, "PREEMPT_DYNAMIC; how it was booted is not told")
        if chosen[1] in ("full", "lazy"):
            return Finding(name, Verdict.OK, f"PREEMPT_DYNAMIC, {chosen[1]}")
        return Finding(name, Verdict.WARN, f"PREEMPT_DYNAMIC, but booted as {chosen[1]}", remedy)
    if "PREEMPT" in version:
        return Finding(name, Verdict.OK, "PREEMPT")
    return Finding(name, Verdict.WARN, "no PREEMPT: a wake-up may come milliseconds late", remedy)


def check_timers(release: str = os.uname().release, root: Path = _ROOT) -> Finding:
    """How fine the kernel's timers are, and how often it ticks."""
    name = "timers"
    resolution_ns = round(1e9 * time.clock_getres(time.CLOCK_MONOTONIC))
    found = re.search(r"^CONFIG_HZ=(\d+)$", _kernel_config(release, root), re.MULTILINE)
    ticks = f"HZ={found[1]}" if found else "HZ is not told"
    if resolution_ns > _FINE_NS:
        remedy = "use a kernel with CONFIG_HIGH_RES_TIMERS"
        return Finding(name, Verdict.WARN, f"timers of {resolution_ns / 1e6:g} ms, {ticks}", remedy)
    return Finding(name, Verdict.OK, f"high-resolution timers, {ticks}")


def check_governor(root: Path = _ROOT) -> Finding:
    """Whether the CPUs keep their speed."""
    name = "CPU governor"
    files = root.glob("sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")
    governors = sorted({text for file in files if (text := _text(file))})
    if not governors:
        return Finding(name, Verdict.OK, "the kernel does not change the CPUs' speed")
    if governors == ["performance"]:
        return Finding(name, Verdict.OK, "performance")
    remedy = "echo performance | sudo tee /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor"
    return Finding(name, Verdict.WARN, f"{', '.join(governors)}: a CPU that slept begins slowly", remedy)


def check_cpus(audio_cpu: int, conceal_cpu: int) -> Finding:
    """Whether the CPUs that processes keep to are there, and not the same.

    Parameters
    ----------
    audio_cpu, conceal_cpu
        As in the configuration; -1: any.
    """
    name = "CPUs"
    there = os.sched_getaffinity(0)
    for key, cpu in (("audio.cpu", audio_cpu), ("conceal.cpu", conceal_cpu)):
        if cpu >= 0 and cpu not in there:
            says = f"{key} is {cpu}, and there are {', '.join(map(str, sorted(there)))}"
            return Finding(name, Verdict.WARN, says, f"set {key} to one of them, or to -1")
    if audio_cpu == conceal_cpu >= 0:
        return Finding(name, Verdict.WARN, f"audio and conceal share CPU {audio_cpu}", "give each one of its own")
    if len(there) == 1:
        return Finding(name, Verdict.WARN, "there is one CPU", "use a machine with two or more")
    return Finding(name, Verdict.OK, f"{len(there)}")


def _kernel_config(release: str, root: Path) -> str:
    try:
        return gzip.decompress((root / "proc/config.gz").read_bytes()).decode()
    except (OSError, ValueError, EOFError):
        return _text(root / f"boot/config-{release}")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return ""
