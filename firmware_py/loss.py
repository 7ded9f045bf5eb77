"""Which packets are lost: trace files and the two classical models of a lossy network.

A trace is a boolean array with one element per packet, True = lost.
"""

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .atomic import atomic_path
from .errors import InputError

__all__ = [
    "Bernoulli",
    "GilbertElliott",
    "LossModel",
    "find_bursts",
    "fit_trace",
    "parse_loss",
    "read_trace",
    "write_trace",
]

_ACCEPTED = "give a rate such as 0.1, bernoulli:p=0.1 or gilbert:p=0.06,r=0.5 (optional k and h), each from 0 to 1"
_BLOCK_BYTES = 1 << 20
_WHITESPACE = np.frombuffer(b" \t\r\n\v\f", np.uint8)


@dataclass(frozen=True)
class Bernoulli:
    """Every packet is lost with the same probability, whatever happened to the others.

    Raises
    ------
    InputError
        When the probability lies outside 0 to 1.
    """

    p: float
    """Probability that a packet is lost, 0 to 1."""

    def __post_init__(self) -> None:
        _check_probabilities(self)

    @property
    def expected_rate(self) -> float:
        """Fraction of the packets that is lost in the long run."""
        return self.p

    def generate(self, packets: int, seed: int) -> NDArray[np.bool_]:
        """Draw a trace; see `GilbertElliott.generate` for arguments, errors and reproducibility."""
        return _uniform(packets, 1, seed)[:, 0] < self.p

    def __str__(self) -> str:
        return f"bernoulli:p={self.p:g}"


@dataclass(frozen=True)
class GilbertElliott:
    """Two states, good and bad, each with its own loss probability: losses come in bursts.

    With the default ``k`` and ``h`` (the simple Gilbert model) everything in the bad state is lost and nothing in
    the good one: the mean burst is 1 / r packets and the loss rate p / (p + r).

    Sources: E. N. Gilbert, "Capacity of a Burst-Noise Channel", Bell Syst. Tech. J. 39 (1960) 1253-1265 (states,
    p, h); E. O. Elliott, "Estimates of Error Rates for Codes on Burst-Noise Channels", ibid. 42 (1963) 1977-1997 (k).

    Raises
    ------
    InputError
        When a probability lies outside 0 to 1, or p and r are both 0 (no stationary distribution).
    """

    p: float
    """Probability of the transition good -> bad, per packet."""
    r: float
    """Probability of the transition bad -> good, per packet."""
    k: float = 1.0
    """Probability that a packet arrives in the good state."""
    h: float = 0.0
    """Probability that a packet arrives in the bad state."""

    def __post_init__(self) -> None:
        _check_probabilities(self)
        if self.p + self.r == 0:
            raise InputError("gilbert:p=0,r=0 never leaves the state it starts in: give p or r above 0")

    @property
    def expected_rate(self) -> float:
        """Fraction of the packets that is lost in the long run."""
        bad = self.p / (self.p + self.r)
        return bad * (1 - self.h) + (1 - bad) * (1 - self.k)

    def generate(self, packets: int, seed: int) -> NDArray[np.bool_]:
        """Draw a trace that starts in the stationary distribution of the chain.

        Parameters
        ----------
        packets
            Length of the trace, 0 or more. A longer trace of the same seed begins with the shorter one.
        seed
            0 or more. The same seed gives the same trace on every machine and NumPy version: the uniform numbers
            are made from the raw stream of PCG64, which NumPy guarantees, not from `numpy.random.Generator`
            (NEP 19 does not guarantee its methods).

        Returns
        -------
        lost : NDArray[bool] [shape=(packets,)]
            True = lost.

        Raises
        ------
        InputError
            When ``packets`` or ``seed`` is negative.
        """
        uniform = _uniform(packets, 2, seed)
        bad = np.empty(packets, np.bool_)
        to_bad, to_good = self.p, self.r
        is_bad = False
        threshold = to_bad / (to_bad + to_good)  # the first packet's state: stationary
        for index, value in enumerate(uniform[:, 0].tolist()):
            is_bad = value >= to_good if is_bad else value < threshold
            bad[index] = is_bad
            threshold = to_bad
        return uniform[:, 1] < np.where(bad, 1 - self.h, 1 - self.k)

    def __str__(self) -> str:
        optional = "".join(
            f",{f.name}={getattr(self, f.name):g}" for f in fields(self)[2:] if getattr(self, f.name) != f.default
        )
        return f"gilbert:p={self.p:g},r={self.r:g}{optional}"


_MODELS: dict[str, type[Bernoulli] | type[GilbertElliott]] = {"bernoulli": Bernoulli, "gilbert": GilbertElliott}

LossModel = Bernoulli | GilbertElliott


def parse_loss(text: str) -> LossModel:
    """Read a loss model as the option ``--loss`` takes it.

    Parameters
    ----------
    text
        A rate (``0.1``), ``bernoulli:p=0.1`` or ``gilbert:p=0.06,r=0.5`` with optional ``k`` and ``h``.

    Raises
    ------
    InputError
        When the text is none of these; the message says what is accepted.
    """
    name, colon, arguments = (part.strip() for part in text.partition(":"))
    if not colon:
        return Bernoulli(_probability(name, text))
    model = _MODELS.get(name.lower())
    if model is None:
        raise InputError(f"loss {text!r}: there is no model {name!r}: {_ACCEPTED}")
    allowed = {f.name for f in fields(model)}
    values: dict[str, float] = {}
    for argument in arguments.split(","):
        key, equals, value = (part.strip() for part in argument.partition("="))
        if not equals or key not in allowed or key in values:
            raise InputError(f"loss {text!r}: {argument.strip()!r} is not one of its parameters, once: {_ACCEPTED}")
        values[key] = _probability(value, text)
    try:
        return model(**values)
    except TypeError:
        raise InputError(f"loss {text!r}: a parameter is missing: {_ACCEPTED}") from None


def read_trace(path: str | os.PathLike[str]) -> NDArray[np.bool_]:
    """Read a trace file: one digit per packet, 1 = lost, separated by whitespace or nothing.

    Parameters
    ----------
    path
        A text file; a pipe will do too.

    Returns
    -------
    lost : NDArray[bool] [shape=(packets,)]
        True = lost; at least one packet.

    Raises
    ------
    InputError
        When the file cannot be read, holds anything but 0, 1 and whitespace, or holds no digit. The message says
        at which line and character, both from 1.
    """
    blocks: list[NDArray[np.bool_]] = []
    line, column = 1, 1
    try:
        with Path(path).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                data = np.frombuffer(block, np.uint8)
                digit = (data == ord("0")) | (data == ord("1"))
                wrong = np.flatnonzero(~(digit | np.isin(data, _WHITESPACE)))
                good = block[: wrong[0]] if wrong.size else block
                newlines = good.count(b"\n")
                line, column = line + newlines, len(good) - good.rfind(b"\n") if newlines else column + len(good)
                if wrong.size:
                    raise InputError(_describe_byte(path, block, int(wrong[0]), line, column))
                blocks.append(data[digit] == ord("1"))
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such trace file: check the name") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InputError(f"{path}: the trace cannot be read: {reason}") from error
    lost = np.concatenate(blocks) if blocks else np.zeros(0, np.bool_)
    if not lost.size:
        raise InputError(f"{path}: the trace is empty: write one digit per packet, 1 = lost, 0 = received")
    return lost


def write_trace(path: str | os.PathLike[str], lost: NDArray[np.bool_]) -> None:
    """Write a trace file, one digit per line, whole or not at all.

    Parameters
    ----------
    path
        The file to make or replace.
    lost : NDArray[bool] [shape=(packets,)]
        True = lost; at least one packet.

    Raises
    ------
    InputError
        When the trace is empty or has more than one dimension: `read_trace` could not give it back.
    RunError
        When the file cannot be written.
    """
    trace = np.asarray(lost, np.bool_)
    if trace.ndim != 1 or not trace.size:
        raise InputError(f"{path}: a trace has one dimension and at least one packet, not the shape {trace.shape}")
    text = np.full((trace.size, 2), ord("\n"), np.uint8)
    text[:, 0] = ord("0") + trace
    with atomic_path(path) as temporary:
        temporary.write_bytes(text.tobytes())


def fit_trace(lost: NDArray[np.bool_], packets: int, repeat: bool = False) -> NDArray[np.bool_]:
    """Bring a trace to the length of the audio: cut a longer one, repeat a shorter one if asked.

    Parameters
    ----------
    lost : NDArray[bool] [shape=(n,)]
        True = lost.
    packets
        Length wanted. Trace files made for whole packets hold ``frames // packet_samples`` digits: count whole
        packets here too, or they come out one digit short.
    repeat
        Start a shorter trace over as often as needed.

    Returns
    -------
    lost : NDArray[bool] [shape=(packets,)]
        A copy.

    Raises
    ------
    InputError
        When the trace is shorter and ``repeat`` is False, or when it is empty.
    """
    if packets < 0:
        raise InputError(f"a trace cannot have {packets} packets")
    if lost.size >= packets:
        return lost[:packets].copy()
    if not lost.size:
        raise InputError("the trace is empty: give one digit per packet")
    if not repeat:
        raise InputError(
            f"the trace has {lost.size} packets but the audio has {packets}: "
            "give a longer trace or start it over with --repeat-trace"
        )
    return np.resize(lost, packets)


def find_bursts(lost: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Find the runs of lost packets.

    Parameters
    ----------
    lost : NDArray[bool] [shape=(packets,)]
        True = lost.

    Returns
    -------
    bursts : NDArray[int64] [shape=(n, 2)]
        First lost packet and first received one after it, in the order of the trace.
    """
    edges = np.diff(np.asarray(lost, np.int8), prepend=0, append=0)
    return np.column_stack((np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)))


def _check_probabilities(model: Bernoulli | GilbertElliott) -> None:
    for field in fields(model):
        value = getattr(model, field.name)
        if not 0 <= value <= 1:  # false for NaN too
            raise InputError(f"loss probability {field.name}={value:g} is out of range: {_ACCEPTED}")


def _probability(text: str, whole: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise InputError(f"loss {whole!r}: {text!r} is not a probability: {_ACCEPTED}")
    return value


def _uniform(packets: int, per_packet: int, seed: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1) [shape=(packets, per_packet)], 53 bits each, row by row from one stream."""
    if packets < 0 or seed < 0:
        raise InputError(f"a trace needs a length and a seed of 0 or more, not {packets} and {seed}")
    raw: NDArray[np.uint64] = np.random.PCG64(seed).random_raw(packets * per_packet)
    return (raw >> np.uint64(11)).astype(np.float64).reshape(packets, per_packet) * 2.0**-53


def _describe_byte(path: str | os.PathLike[str], block: bytes, index: int, line: int, column: int) -> str:
    where = f"{path}: line {line}, character {column}"
    remedy = "a trace is text with one digit per packet, 1 = lost, 0 = received"
    if b"\0" in block or block[index] >= 0x80 or block[index] < 0x20:
        return f"{where}: binary data, not a trace: {remedy}"
    return f"{where} is {chr(block[index])!r}: {remedy}"
