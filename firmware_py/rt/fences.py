"""Memory fences for kernels that share memory with another process: numba has none of its own.

x86 keeps stores in order by itself; the ARM of a board does not, and a reader there could see "ready" before the data.
"""

from collections.abc import Callable
from typing import Any, cast

from numba import config, types
from numba.extending import intrinsic

__all__ = ["acquire", "release"]


def _fence(ordering: str) -> Callable[[], Any]:
    if config.DISABLE_JIT:  # type: ignore[attr-defined]  # uncompiled, the interpreter orders what one process does
        return lambda: None

    def typed(typing_context: Any) -> Any:
        del typing_context

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            del signature, arguments
            builder.fence(ordering)
            return context.get_dummy_value()

        return types.void(), generate

    return cast("Callable[[], Any]", intrinsic(typed))


acquire = _fence("acquire")
"""What is read after it was written before what was read before it: after the read of a flag."""
release = _fence("release")
"""What is written before it is seen by whoever sees what is written after it: before the write of a flag."""
