import hashlib

import numpy as np
import pytest

from continuo.firmware_py.errors import InputError, RunError
from continuo.firmware_py.loss import (
    Bernoulli,
    GilbertElliott,
    find_bursts,
    fit_trace,
    parse_loss,
    read_trace,
    write_trace,
)

PACKETS = 400_000


def burst_lengths(lost):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(np.int8), [0]])))
    return edges[1::2] - edges[::2]


@pytest.mark.parametrize(
    "text", ["0\n1\n1\n0\n", "0110", "01 10\t", "\r\n0\r\n1\r\n1\r\n0", "0\r1\r1\r0\r", "01\n\n10\f\v"]
)
def test_digits_may_be_separated_by_whitespace_or_nothing(tmp_path, text):
    path = tmp_path / "trace.txt"
    path.write_bytes(text.encode())
    lost = read_trace(path)
    assert lost.dtype == np.bool_
    assert lost.tolist() == [False, True, True, False]


def test_what_is_written_is_read_back_across_blocks(tmp_path):
    lost = Bernoulli(0.3).generate(700_000, seed=1)  # more than one block of 1 MiB
    path = tmp_path / "trace.txt"
    write_trace(path, lost)
    np.testing.assert_array_equal(read_trace(path), lost)
    assert path.read_bytes()[:8] == b"".join(b"%d\n" % digit for digit in lost[:4])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"0\n1\n0 2\n", "line 3, character 3 is '2'"),
        (b"0110a", "line 1, character 5 is 'a'"),
        (b"0,1,1", "line 1, character 2 is ','"),
        (b"-1", "line 1, character 1 is '-'"),
        (b"0\n\n\n0.1\n", "line 4, character 2 is '.'"),
        (b"\n" * (1 << 20) + b"0\n01x", "line 1048578, character 3 is 'x'"),
        (b"0" * (1 << 20) + b"01x", "line 1, character 1048579 is 'x'"),
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"RIFF\x24\x08\x00\x00WAVE", "line 1, character 1: binary data"),
        (b"0\x001\x00", "line 1, character 2: binary data"),
        ("0\n1\n\u0661".encode(), "line 3, character 1: binary data"),
    ],
)
def test_a_bad_file_is_refused_with_the_place(tmp_path, content, expected):
    path = tmp_path / "trace.txt"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert expected in message
    assert str(path) in message
    assert "one digit per packet, 1 = lost" in message
    assert "\n" not in message


@pytest.mark.parametrize(("name", "expected"), [("missing.txt", "no such trace"), ("", "directory"), ("a\0b", "null")])
def test_a_file_that_cannot_be_read_is_refused(tmp_path, name, expected):
    with pytest.raises(InputError, match=expected):
        read_trace(tmp_path / name)


def test_a_device_without_end_is_refused_at_once():
    with pytest.raises(InputError, match="binary data"):
        read_trace("/dev/zero")


def test_a_trace_that_cannot_be_written_is_refused(tmp_path):
    with pytest.raises(RunError, match="missing"):
        write_trace(tmp_path / "missing" / "trace.txt", np.array([True]))
    for lost in (np.zeros(0, bool), np.zeros((2, 2), bool)):
        with pytest.raises(InputError, match="one dimension and at least one packet"):
            write_trace(tmp_path / "trace.txt", lost)
    assert list(tmp_path.iterdir()) == []


def test_a_longer_trace_is_cut_and_a_shorter_one_repeated():
    lost = np.array([True, False, False])
    assert fit_trace(lost, 2).tolist() == [True, False]
    assert fit_trace(lost, 3).tolist() == lost.tolist()
    assert fit_trace(lost, 7, repeat=True).tolist() == [True, False, False, True, False, False, True]
    fit_trace(lost, 3)[0] = False
    assert lost[0]


def test_a_shorter_trace_is_refused_with_both_lengths():
    with pytest.raises(InputError, match=r"3 packets but the audio has 7.*--repeat-trace"):
        fit_trace(np.zeros(3, bool), 7)
    with pytest.raises(InputError, match="empty"):
        fit_trace(np.zeros(0, bool), 7, repeat=True)
    with pytest.raises(InputError, match="-1"):
        fit_trace(np.zeros(3, bool), -1)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("0.1", Bernoulli(0.1)),
        ("0", Bernoulli(0.0)),
        ("1e-2", Bernoulli(0.01)),
        ("bernoulli:p=0.1", Bernoulli(0.1)),
        ("gilbert:p=0.06,r=0.5", GilbertElliott(0.06, 0.5)),
        (" Gilbert : r = 0.5 , p = 0.06 ", GilbertElliott(0.06, 0.5)),
        ("gilbert:p=0.06,r=0.5,k=0.99,h=0.2", GilbertElliott(0.06, 0.5, 0.99, 0.2)),
    ],
)
def test_a_model_is_read_from_text_and_back(text, model):
    assert parse_loss(text) == model
    assert parse_loss(str(model)) == model


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "'' is not a probability"),
        ("ten", "'ten' is not a probability"),
        ("10%", "'10%' is not a probability"),
        ("1.5", "'1.5' is not a probability"),
        ("-0.1", "'-0.1' is not a probability"),
        ("nan", "'nan' is not a probability"),
        ("markov:p=0.1", "no model 'markov'"),
        ("bernoulli:", "'' is not one of its parameters"),
        ("bernoulli:0.1", "'0.1' is not one of its parameters"),
        ("bernoulli:r=0.1", "'r=0.1' is not one of its parameters"),
        ("gilbert:p=0.1,p=0.2,r=0.5", "'p=0.2' is not one of its parameters, once"),
        ("gilbert:p=0.1", "a parameter is missing"),
        ("gilbert:p=0.1,r=", "'' is not a probability"),
        ("gilbert:p=0.1,r=inf", "'inf' is not a probability"),
        ("gilbert:p=0,r=0", "never leaves the state"),
    ],
)
def test_bad_text_is_refused_and_what_is_accepted_is_named(text, expected):
    with pytest.raises(InputError) as caught:
        parse_loss(text)
    assert expected in str(caught.value)
    assert "never leaves" in expected or "gilbert:p=0.06,r=0.5" in str(caught.value)


@pytest.mark.parametrize("make", [lambda: Bernoulli(1.1), lambda: GilbertElliott(0.1, float("nan"))])
def test_a_model_cannot_be_made_from_what_is_no_probability(make):
    with pytest.raises(InputError, match="out of range"):
        make()


@pytest.mark.parametrize(
    "model",
    [
        Bernoulli(0.1),
        GilbertElliott(0.06, 0.5),
        GilbertElliott(0.01, 0.2),
        GilbertElliott(0.9, 0.8),
        GilbertElliott(0.05, 0.3, k=0.98, h=0.25),
    ],
    ids=str,
)
def test_the_measured_rate_is_the_expected_one(model):
    """Tolerance: 4 standard errors; the correlation of the chain, 1 - p - r, widens that of independent packets."""
    rate = model.expected_rate
    correlation = 1 - model.p - model.r if isinstance(model, GilbertElliott) else 0.0
    standard_error = np.sqrt(rate * (1 - rate) / PACKETS * (1 + correlation) / (1 - correlation))
    for seed in (0, 1):
        assert model.generate(PACKETS, seed).mean() == pytest.approx(rate, abs=4 * standard_error)


def test_expected_rates_by_hand():
    assert Bernoulli(0.1).expected_rate == 0.1
    assert GilbertElliott(0.1, 0.3).expected_rate == pytest.approx(0.25)
    assert GilbertElliott(0.1, 0.3, k=0.9, h=0.5).expected_rate == pytest.approx(0.25 * 0.5 + 0.75 * 0.1)


@pytest.mark.parametrize("r", [0.2, 0.5, 1.0])
def test_gilbert_bursts_are_geometric_with_mean_one_over_r(r):
    bursts = burst_lengths(GilbertElliott(0.06, r).generate(PACKETS, seed=2))
    standard_error = np.sqrt(1 - r) / r / np.sqrt(len(bursts))
    assert bursts.mean() == pytest.approx(1 / r, abs=4 * standard_error + 1e-12)
    alone = np.mean(bursts == 1)
    assert alone == pytest.approx(r, abs=4 * np.sqrt(r * (1 - r) / len(bursts)) + 1e-12)


def test_bernoulli_bursts_have_mean_one_over_one_minus_p():
    bursts = burst_lengths(Bernoulli(0.3).generate(PACKETS, seed=3))
    assert bursts.mean() == pytest.approx(1 / 0.7, abs=4 * np.sqrt(0.3) / 0.7 / np.sqrt(len(bursts)))


def test_the_chain_starts_in_its_stationary_distribution():
    model = GilbertElliott(0.02, 0.06)  # rate 0.25; after the first packet the chain would need some 50 to get there
    first = np.mean([model.generate(1, seed)[0] for seed in range(4000)])
    assert first == pytest.approx(0.25, abs=4 * np.sqrt(0.25 * 0.75 / 4000))


@pytest.mark.parametrize(
    ("model", "rate"),
    [(Bernoulli(0.0), 0), (Bernoulli(1.0), 1), (GilbertElliott(0.0, 0.5), 0), (GilbertElliott(0.5, 0.0), 1)],
)
def test_certain_models_are_exact(model, rate):
    lost = model.generate(1000, seed=0)
    assert lost.mean() == rate == model.expected_rate


def test_the_same_seed_gives_the_same_trace_everywhere():
    """Digests of traces as made when this test was written: a change would make published figures unrepeatable."""
    digests = {
        str(model): hashlib.sha256(np.packbits(model.generate(10_000, seed=7)).tobytes()).hexdigest()[:16]
        for model in (Bernoulli(0.1), GilbertElliott(0.06, 0.5, k=0.99, h=0.2))
    }
    assert digests == {
        "bernoulli:p=0.1": "dd67a24afc139b28",
        "gilbert:p=0.06,r=0.5,k=0.99,h=0.2": "1922f01883c26a38",
    }


@pytest.mark.parametrize("model", [Bernoulli(0.1), GilbertElliott(0.06, 0.5)])
def test_seeds_differ_and_a_longer_trace_begins_with_the_shorter(model):
    lost = model.generate(1000, seed=5)
    assert lost.dtype == np.bool_
    assert not np.array_equal(lost, model.generate(1000, seed=6))
    np.testing.assert_array_equal(model.generate(5000, seed=5)[:1000], lost)
    assert model.generate(0, seed=5).shape == (0,)


@pytest.mark.parametrize(("packets", "seed"), [(-1, 0), (10, -1)])
def test_negative_lengths_and_seeds_are_refused(packets, seed):
    with pytest.raises(InputError, match="0 or more"):
        Bernoulli(0.1).generate(packets, seed)


@pytest.mark.parametrize(
    ("digits", "bursts"),
    [("", []), ("000", []), ("1", [[0, 1]]), ("1101", [[0, 2], [3, 4]]), ("011110", [[1, 5]]), ("1111", [[0, 4]])],
)
def test_bursts_are_runs_of_lost_packets(digits, bursts):
    assert find_bursts(np.array([digit == "1" for digit in digits], bool)).tolist() == bursts
