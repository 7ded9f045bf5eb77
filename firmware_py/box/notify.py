"""What systemd is told (`sd_notify(3)`): a datagram to the socket that it names. Without one, nothing is sent."""

import contextlib
import os
import socket

__all__ = ["Notifier"]


class Notifier:
    """Tells the service manager of readiness, life and leaving.

    ``watchdog_s`` is how often it wants a sign of life at most: half of ``WATCHDOG_USEC``, as `sd_watchdog_enabled(3)`
    recommends; None: never.
    """

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        microseconds = os.environ.get("WATCHDOG_USEC", "")
        meant_for_us = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        watched = self._address and microseconds.isdigit() and meant_for_us
        self.watchdog_s = int(microseconds) / 2e6 if watched else None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if self._address else None

    def ready(self, status: str) -> None:
        """The box plays."""
        self._send(f"READY=1\nSTATUS={status}\nMAINPID={os.getpid()}")

    def status(self, status: str) -> None:
        """One line for ``systemctl status``."""
        self._send(f"STATUS={status}")

    def alive(self) -> None:
        """A sign of life."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The box leaves."""
        self._send("STOPPING=1")

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError):  # a service manager that is gone is no reason to stop playing
            self._socket.sendto(message.encode(), address)
