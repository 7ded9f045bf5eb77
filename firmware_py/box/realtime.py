"""What the operating system can do for a process that must not be late."""

import ctypes
import gc
import os

__all__ = ["be_real_time", "freeze_garbage"]

_MCL_CURRENT, _MCL_FUTURE = 1, 2


def be_real_time(priority: int, cpu: int) -> list[str]:
    """Lock our memory, take SCHED_FIFO with ``priority`` (0: none), keep to ``cpu`` (-1: any).

    Returns
    -------
    list[str]
        One line for each thing that was refused: playing goes on without it.
    """
    refused = []
    if ctypes.CDLL(None, use_errno=True).mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        reason = os.strerror(ctypes.get_errno())
        refused.append(f"memory is not locked ({reason}): raise the limit memlock, see `continuo doctor`")
    if cpu >= 0:
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError as error:
            refused.append(
                f"CPU {cpu} cannot be kept to ({error.strerror}): choose from 0 to {(os.cpu_count() or 1) - 1}"
            )
    if priority > 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        except OSError as error:
            refused.append(f"no real-time priority ({error.strerror}): raise the limit rtprio, see `continuo doctor`")
    return refused


def freeze_garbage(*, never: bool = True) -> None:
    """What lives now is never looked at again; with ``never``, garbage is not collected at all from now on."""
    gc.collect()
    gc.freeze()
    if never:
        gc.disable()
