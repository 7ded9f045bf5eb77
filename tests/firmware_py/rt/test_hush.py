"""What a library writes to standard error behind our back is not seen; what we write is."""

import os
import sys

import pytest

from continuo.firmware_py.rt.hush import hushed_stderr


def test_only_what_is_written_meanwhile_is_gone(capfd):
    sys.stderr.write("before\n")
    with hushed_stderr():
        os.write(2, b"a library's\n")
    sys.stderr.write("after\n")
    assert capfd.readouterr().err == "before\nafter\n"


def test_an_error_comes_through_and_standard_error_is_back(capfd):
    def fail():
        with hushed_stderr():
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        fail()
    os.write(2, b"seen")
    assert capfd.readouterr().err == "seen"


def test_without_standard_error_nothing_is_closed(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    with hushed_stderr():
        pass
