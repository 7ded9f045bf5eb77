import os
import socket

import pytest

from continuo.firmware_py.box.notify import Notifier


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_is_told(tmp_path, monkeypatch, abstract):
    address = f"\0continuo-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address)
        manager.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", address.replace("\0", "@"))
        monkeypatch.setenv("WATCHDOG_USEC", "4000000")
        notifier = Notifier()
        assert notifier.watchdog_s == 2.0
        notifier.ready("playing")
        notifier.alive()
        notifier.status("lost 0")
        notifier.stopping()
        heard = [manager.recv(1000).decode() for _ in range(4)]
    assert heard[0].splitlines() == ["READY=1", "STATUS=playing", f"MAINPID={os.getpid()}"]
    assert heard[1:] == ["WATCHDOG=1", "STATUS=lost 0", "STOPPING=1"]


def test_without_a_manager_nothing_happens(monkeypatch):
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
        monkeypatch.delenv(name, raising=False)
    notifier = Notifier()
    assert notifier.watchdog_s is None
    notifier.ready("")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at/all")
    Notifier().alive()


def test_a_watchdog_of_another_process_is_not_ours(monkeypatch):
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    monkeypatch.setenv("WATCHDOG_USEC", "1000000")
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert Notifier().watchdog_s is None
