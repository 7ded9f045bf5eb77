import sys

import pytest

from continuo.firmware_py import cli


@pytest.fixture
def continuo(monkeypatch, capsys):
    """Call the command line in this process; return exit code, stdout, stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["continuo", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        captured = capsys.readouterr()
        return exit_.value.code, captured.out, captured.err

    return call
