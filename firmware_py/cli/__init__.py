"""The ``continuo`` command: one module per subcommand, one place that turns errors into a line and an exit code."""

import contextlib
import signal
import sys
from collections.abc import Iterator

import typer

from ..errors import ContinuoError
from . import config, data, timing
from .convert import convert_command
from .devices import devices_command
from .doctor import doctor_command
from .evaluate import evaluate_command
from .run import run_command
from .simulate import simulate_command
from .status import status_command
from .train import train_command

__all__ = ["app", "main"]

_INTERRUPTED = 130

app = typer.Typer(
    name="continuo",
    help="Music that goes on when packets are lost.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("simulate")(simulate_command)
app.command("run")(run_command)
app.command("evaluate")(evaluate_command)
app.command("train")(train_command)
app.command("convert")(convert_command)
app.command("status")(status_command)
app.command("devices")(devices_command)
app.command("doctor")(doctor_command)
app.add_typer(config.app, name="config")
app.add_typer(data.app, name="data")
app.add_typer(timing.app, name="timing")


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 bad usage or input, 3 missing dependency or device, 4 failed."""
    try:
        with _hearing_ctrl_c():
            code = app(standalone_mode=False)
    except typer.TyperException as error:  # bad usage: the same one line and code as our own InputError
        if message := error.format_message():  # empty: no arguments at all, and the help was shown
            print(f"continuo: {message} (see --help)", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except ContinuoError as error:
        print(f"continuo: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:  # typer turns Ctrl-C into this code, without a word
        print("continuo: interrupted", file=sys.stderr)  # noqa: T201
    sys.exit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _hearing_ctrl_c() -> Iterator[None]:
    """Raise a swallowed KeyboardInterrupt again.

    One that falls into a callback of the compiler, while numba compiles, ends in `sys.unraisablehook` and nowhere else.
    """
    if not hasattr(signal, "setitimer"):  # Windows: press again
        yield
        return

    def again(unraisable: "sys.UnraisableHookArgs") -> None:
        if unraisable.exc_type is KeyboardInterrupt:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        else:
            hook(unraisable)

    hook, sys.unraisablehook = sys.unraisablehook, again
    alarm = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGALRM, alarm)
