"""How far a concealed recording is from the original one.

Every function takes ``reference`` and ``estimate`` of equal shape, (frames,) or (frames, channels), any float type,
full scale 1.0. Channels are never mixed down: an error in one of them must not hide behind the others. The energy
ratios `nmse_db` and `nmse_gap_db` take all channels as one signal (a mean of decibels would be minus infinity as soon
as one channel has no error); the others are the mean over the channels that have a value.

A metric without a value (silent reference, nothing lost, a clip that is too short) is NaN, and None in `all_metrics`.
"""

import functools
import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import InputError, MissingError

__all__ = [
    "METRICS",
    "all_metrics",
    "installed_metrics",
    "lsd_db",
    "lsd_gap_db",
    "mel_sc",
    "mel_spectrogram",
    "nmse_db",
    "nmse_gap_db",
    "visqol",
]

METRICS = ("nmse_db", "nmse_gap_db", "mel_sc", "lsd_db", "lsd_gap_db", "visqol")
"""Names that `all_metrics` takes, in the order of its result."""

_FFT_SAMPLES = 512
_HOP_SAMPLES = 256
_FRAMES_PER_BLOCK = 2048
_MEL_BANDS = 64
_LSD_FLOOR_DBFS = -100.0
_VISQOL_RATE_HZ = 48_000
_VISQOL_LEAST_SAMPLES = 46_080
"""45 analysis frames of 80 ms, 20 ms apart: below that visqol-python finds no patch to compare."""

Signal = NDArray[np.floating]


def nmse_db(reference: Signal, estimate: Signal) -> float:
    """Normalised mean square error over the whole clip, 20 log10(|estimate - reference| / |reference|).

    Returns
    -------
    float
        Decibels; minus infinity when both are equal, NaN when the reference is silent.

    Raises
    ------
    InputError
        When the shapes differ.
    """
    x, y = _pair(reference, estimate)
    return _ratio_db(np.linalg.norm(y - x), np.linalg.norm(x))


def nmse_gap_db(reference: Signal, estimate: Signal, lost: NDArray[np.bool_], packet_samples: int) -> float:
    """`nmse_db` over the samples of lost packets only: without the crossfade after them.

    Parameters
    ----------
    reference, estimate
        See the module.
    lost : NDArray[bool] [shape=(packets,)]
        True = lost. Packet n covers the samples n * packet_samples onwards; samples after the last packet of the
        trace count as received, packets after the last sample are ignored.
    packet_samples
        Samples per channel in one packet.

    Returns
    -------
    float
        Decibels; 0 for zero fill, minus infinity for a perfect one, NaN when nothing is lost or the reference is
        silent there.

    Raises
    ------
    InputError
        When the shapes differ.
    """
    x, y = _pair(reference, estimate)
    mask = _lost_samples(lost, packet_samples, len(x))
    return _ratio_db(np.linalg.norm(y[mask] - x[mask]), np.linalg.norm(x[mask]))


def mel_spectrogram(signal: Signal, sample_rate_hz: int) -> NDArray[np.float64]:
    """Mel magnitude spectrogram: 64 bands from 0 Hz to half the sample rate, FFT 512, hop 256, Hann.

    The same as ``librosa.feature.melspectrogram(y=..., sr=..., n_fft=512, hop_length=256, n_mels=64, power=1)``:
    periodic Hann window, frames centred on multiples of the hop, zeros beyond both ends, mel scale of Slaney's
    Auditory Toolbox (linear below 1 kHz), triangles of unit area ("slaney" norm). At high sample rates the lowest
    triangles are narrower than one FFT bin and stay empty, as there.

    Parameters
    ----------
    signal : NDArray[float] [shape=(frames,)]
        One channel.
    sample_rate_hz
        Samples per second.

    Returns
    -------
    mel : NDArray[float64] [shape=(64, 1 + frames // 256)]
        Magnitudes, 0 or more.
    """
    filters = mel_filters(sample_rate_hz)
    mono = np.asarray(signal, np.float64)
    return np.concatenate([filters @ magnitude.T for magnitude in _magnitudes(mono)], axis=1)


def mel_sc(reference: Signal, estimate: Signal, sample_rate_hz: int) -> float:
    """Mel spectral convergence: Frobenius norm of the difference of two `mel_spectrogram` over the reference's.

    Returns
    -------
    float
        0 when equal, 1 for silence; mean over the channels whose reference is not silent, NaN when all are.

    Raises
    ------
    InputError
        When the shapes differ.
    """

    def one_channel(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        filters = mel_filters(sample_rate_hz)
        error = energy = 0.0
        for x_magnitude, y_magnitude in zip(_magnitudes(x), _magnitudes(y), strict=True):
            error += float(np.sum(((y_magnitude - x_magnitude) @ filters.T) ** 2))
            energy += float(np.sum((x_magnitude @ filters.T) ** 2))
        return math.sqrt(error / energy) if energy else math.nan

    return _mean_over_channels(one_channel, *_pair(reference, estimate))


def lsd_db(reference: Signal, estimate: Signal, sample_rate_hz: int) -> float:
    """Log-spectral distance: per frame the root mean square over bins of 20 log10(|X| / |Y|), then the mean of frames.

    FFT 512, hop 256, periodic Hann, frames centred on multiples of the hop. Magnitudes below -100 dBFS (0 dBFS is the
    peak of a full-scale sine) are raised to it: that is above the noise of 16 bits, which spreads to about -120 dBFS
    per bin, and it bounds what a silent gap costs. A frame in which both are below it counts as 0.

    Source: A. H. Gray, J. D. Markel, "Distance Measures for Speech Processing", IEEE Trans. ASSP 24 (1976) 380-391.

    Parameters
    ----------
    reference, estimate
        See the module.
    sample_rate_hz
        Not used: frames have a fixed number of samples. Here so that all spectral metrics are called alike.

    Returns
    -------
    float
        Decibels, 0 when equal.

    Raises
    ------
    InputError
        When the shapes differ.
    """
    return _mean_over_channels(lambda x, y: _mean(_lsd_per_frame(x, y)), *_pair(reference, estimate))


def lsd_gap_db(
    reference: Signal, estimate: Signal, lost: NDArray[np.bool_], packet_samples: int, sample_rate_hz: int
) -> float:
    """`lsd_db` over the frames that overlap a lost packet by at least one sample.

    Parameters
    ----------
    reference, estimate, lost, packet_samples
        As for `nmse_gap_db`.
    sample_rate_hz
        Not used, see `lsd_db`.

    Returns
    -------
    float
        Decibels; NaN when nothing is lost.

    Raises
    ------
    InputError
        When the shapes differ.
    """
    x, y = _pair(reference, estimate)
    lost_before = np.concatenate([[0], np.cumsum(_lost_samples(lost, packet_samples, len(x)))])
    centres = np.arange(0, len(x) + 1, _HOP_SAMPLES)
    begin = np.maximum(centres - _FFT_SAMPLES // 2, 0)
    end = np.minimum(centres + _FFT_SAMPLES // 2, len(x))
    overlaps = lost_before[end] > lost_before[begin]
    return _mean_over_channels(lambda a, b: _mean(_lsd_per_frame(a, b)[overlaps]), x, y)


def visqol(reference: Signal, estimate: Signal, sample_rate_hz: int) -> float:
    """ViSQOL (v3) in audio mode: the quality that listeners would give, by the package visqol-python.

    Other rates are resampled to 48 kHz first, by a polyphase filter with the pass band of soxr's: full up to 0.91 of
    the lower Nyquist frequency, 100 dB down at it. The resampler shows in the third decimal of the mean of many clips.

    Takes 1.2 s of one core for 10 s of audio. The package has numba compile its kernels: the first call ever takes
    8 s more, and with ``NUMBA_DISABLE_JIT=1`` it is unusably slow. Its kernels run on numba's "workqueue" threads,
    which do not stand calls from two threads at once: use processes to run several.

    Sources: A. Hines et al., "ViSQOLAudio", J. Acoust. Soc. Am. 137 (2015) EL449; M. Chinen et al., "ViSQOL v3",
    QoMEX 2020.

    Returns
    -------
    float
        MOS-LQO, 1 to about 4.73 (equal signals); mean over the channels. NaN when the clip is shorter than 0.96 s.
        A channel counts only where both signals have sound: visqol scales them to equal loudness.

    Raises
    ------
    InputError
        When the shapes differ.
    MissingError
        When visqol-python or scipy is not installed.
    """
    api = _visqol_api()

    def one_channel(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        if not x.any() or not y.any():
            return math.nan
        x, y = _at_48_khz(x, sample_rate_hz), _at_48_khz(y, sample_rate_hz)
        if len(x) < _VISQOL_LEAST_SAMPLES:
            return math.nan
        return float(api.measure_from_arrays(x, y, _VISQOL_RATE_HZ).moslqo)

    return _mean_over_channels(one_channel, *_pair(reference, estimate))


def installed_metrics() -> tuple[str, ...]:
    """Those of `METRICS` whose packages are installed: all but ``visqol`` need NumPy alone."""
    has_visqol = all(importlib.util.find_spec(name) for name in ("visqol", "scipy"))
    return METRICS if has_visqol else tuple(name for name in METRICS if name != "visqol")


def all_metrics(
    reference: Signal,
    estimate: Signal,
    lost: NDArray[np.bool_],
    packet_samples: int,
    sample_rate_hz: int,
    *,
    names: Sequence[str] = METRICS,
) -> dict[str, float | None]:
    """Compute several metrics, ready for JSON.

    Parameters
    ----------
    reference, estimate, lost, packet_samples, sample_rate_hz
        As for `nmse_gap_db` and `mel_sc`.
    names
        Which of `METRICS`; `installed_metrics` says which can be had.

    Returns
    -------
    values : dict[str, float | None]
        One entry per name, in the order of `METRICS`. None when there is no finite value: JSON has neither NaN nor
        minus infinity (`nmse_db` of equal signals).

    Raises
    ------
    InputError
        When the shapes differ or a name is unknown.
    MissingError
        When ``visqol`` is asked for and not installed.
    """
    if unknown := [name for name in names if name not in METRICS]:
        raise InputError(f"there is no metric {unknown[0]!r}: choose from {', '.join(METRICS)}")
    compute: dict[str, Callable[[], float]] = {
        "nmse_db": lambda: nmse_db(reference, estimate),
        "nmse_gap_db": lambda: nmse_gap_db(reference, estimate, lost, packet_samples),
        "mel_sc": lambda: mel_sc(reference, estimate, sample_rate_hz),
        "lsd_db": lambda: lsd_db(reference, estimate, sample_rate_hz),
        "lsd_gap_db": lambda: lsd_gap_db(reference, estimate, lost, packet_samples, sample_rate_hz),
        "visqol": lambda: visqol(reference, estimate, sample_rate_hz),
    }
    values = {name: compute[name]() for name in METRICS if name in names}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _pair(reference: Signal, estimate: Signal) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both as float64 [shape=(frames, channels)]."""
    x, y = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    if x.shape != y.shape or x.ndim not in (1, 2):
        raise InputError(f"reference {x.shape} and estimate {y.shape} differ in shape: give (frames, channels) twice")
    return (x[:, None], y[:, None]) if x.ndim == 1 else (x, y)


def _ratio_db(error: np.floating, energy: np.floating) -> float:
    if not energy:
        return math.nan
    return 20.0 * math.log10(error / energy) if error else -math.inf


def _lost_samples(lost: NDArray[np.bool_], packet_samples: int, frames: int) -> NDArray[np.bool_]:
    """Mask [shape=(frames,)], True where the sample belongs to a lost packet."""
    mask = np.zeros(frames, np.bool_)
    lost_samples = np.repeat(np.asarray(lost, np.bool_), packet_samples)[:frames]
    mask[: len(lost_samples)] = lost_samples
    return mask


def _mean(values: NDArray[np.float64]) -> float:
    return float(np.mean(values)) if values.size else math.nan


def _mean_over_channels(
    metric: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
) -> float:
    per_channel = np.array(
        [metric(np.ascontiguousarray(a), np.ascontiguousarray(b)) for a, b in zip(x.T, y.T, strict=True)]
    )
    return _mean(per_channel[~np.isnan(per_channel)])


def _magnitudes(mono: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Magnitude spectra [shape=(up to 2048, 257)], block by block so that an hour of audio fits in memory."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_FFT_SAMPLES) / _FFT_SAMPLES)
    padded = np.pad(mono, _FFT_SAMPLES // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT_SAMPLES)[::_HOP_SAMPLES]
    for begin in range(0, len(frames), _FRAMES_PER_BLOCK):
        yield np.abs(np.fft.rfft(frames[begin : begin + _FRAMES_PER_BLOCK] * window, axis=1))


def _lsd_per_frame(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
    floor = 10.0 ** (_LSD_FLOOR_DBFS / 20) * _FFT_SAMPLES / 4  # a full-scale sine peaks at half the window's sum
    blocks = []
    for x_magnitude, y_magnitude in zip(_magnitudes(x), _magnitudes(y), strict=True):
        ratio_db = 20 * np.log10(np.maximum(x_magnitude, floor) / np.maximum(y_magnitude, floor))
        blocks.append(np.sqrt(np.mean(ratio_db**2, axis=1)))
    return np.concatenate(blocks)


@functools.lru_cache(maxsize=8)
def mel_filters(sample_rate_hz: int) -> NDArray[np.float64]:
    """Triangles [shape=(64, 257)] of unit area on the scale of M. Slaney, "Auditory Toolbox" (1998)."""
    linear_hz, linear_mel = 200.0 / 3, 15.0  # 1 mel is 66.7 Hz up to 1 kHz (15 mel), 1/27 of ln 6.4 above
    log_step = math.log(6.4) / 27
    top_mel = linear_mel + math.log(sample_rate_hz / 2 / 1000) / log_step
    mel = np.linspace(0.0, top_mel, _MEL_BANDS + 2)
    edges_hz = np.where(mel < linear_mel, mel * linear_hz, 1000.0 * np.exp(log_step * (mel - linear_mel)))
    bins_hz = np.fft.rfftfreq(_FFT_SAMPLES, 1 / sample_rate_hz)
    low, centre, high = edges_hz[:-2, None], edges_hz[1:-1, None], edges_hz[2:, None]
    rising, falling = (bins_hz - low) / (centre - low), (high - bins_hz) / (high - centre)
    filters: NDArray[np.float64] = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (high - low))
    filters.setflags(write=False)
    return filters


def _at_48_khz(mono: NDArray[np.float64], sample_rate_hz: int) -> NDArray[np.float64]:
    import scipy.signal  # noqa: PLC0415 (extra eval)

    divisor = math.gcd(_VISQOL_RATE_HZ, sample_rate_hz)
    up, down = _VISQOL_RATE_HZ // divisor, sample_rate_hz // divisor
    if up == down:
        return mono
    # SciPy's own filter (10 zero crossings) rolls off earlier and lets images through
    factor = max(up, down)
    taps = scipy.signal.firwin(160 * factor + 1, 0.955 / factor, window=("kaiser", 10.0))
    resampled: NDArray[np.float64] = scipy.signal.resample_poly(mono, up, down, window=taps)
    return resampled


@functools.lru_cache(maxsize=1)
def _visqol_api() -> Any:
    try:
        import scipy.signal  # noqa: F401, PLC0415
        from visqol import VisqolApi  # noqa: PLC0415 (extra eval)
    except ImportError as error:
        raise MissingError(f"the metric visqol needs {error.name}: pip install 'continuo-nmp[eval]'") from error
    api = VisqolApi()
    api.create(mode="audio")
    return api
