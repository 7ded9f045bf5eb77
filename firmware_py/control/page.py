"""The local page: what the box is doing, live, for whoever knows the token; and the same as JSON and as metrics."""

import asyncio
import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Self

from ..errors import InputError, MissingError, RunError
from .config import StatusConfig
from .status_collector import StatusCollector

try:
    from aiohttp import web

    from .prometheus import METRICS_CONTENT_TYPE, metrics_text
except ImportError as error:
    raise MissingError(f"the status page needs {error.name}: pip install 'continuo-nmp[box]'") from error

__all__ = ["StatusPage"]

_WEB = Path(__file__).with_name("web")
_SAMPLE_S = 0.05
_SAMPLES_PER_EVENT = 4
_STREAMS_MOST = 32
_COOKIE_S = 365 * 24 * 3600

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StatusPage:
    """Serves the page from a thread of its own while the block runs; a context manager.

    ``/`` is the page, ``/events`` its stream of server-sent events, ``/status.json`` one snapshot, ``/metrics`` for
    Prometheus; ``/tightness`` takes ``{"tightness": 0.5}`` by POST. All of them want the token: once as ``?token=``,
    which sets a cookie and leaves the address without it, or in each request as ``Authorization: Bearer``.

    Parameters
    ----------
    config
        Where to serve, and the token. Port 0 is any free one here; `port` tells which.
    collector
        What is shown. The page also samples it, so that short peaks are seen.

    Raises
    ------
    RunError
        On entry, when the address cannot be had.
    """

    def __init__(self, config: StatusConfig, collector: StatusCollector) -> None:
        self.port = config.port
        self._host = config.host
        self._token = config.token
        self._collector = collector
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closing: asyncio.Event | None = None

    def __enter__(self) -> Self:
        started: Future[int] = Future()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(started)), name="status-page", daemon=True
        )
        self._thread.start()
        try:
            self.port = started.result()
        except OSError as error:
            self._thread.join()
            self._thread = None
            reason = error.strerror or str(error)
            raise RunError(
                f"cannot serve the status page on {self._host} port {self.port}: {reason}; change status.host or "
                "status.port"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is None or self._loop is None or self._closing is None:
            return
        self._loop.call_soon_threadsafe(self._closing.set)
        self._thread.join()
        self._thread = None

    async def _serve(self, started: "Future[int]") -> None:
        self._loop, self._closing = asyncio.get_running_loop(), asyncio.Event()
        try:
            site = _Site(self._collector, self._token, self._closing)
            runner = web.AppRunner(site.app(), access_log=None, shutdown_timeout=1.0)
            await runner.setup()
        except Exception as error:
            started.set_exception(error)
            return
        try:
            await web.TCPSite(runner, self._host, self.port).start()
            port = int(runner.addresses[0][1])
            site.cookie_name = f"continuo-{port}"  # browsers give a cookie to every port of a host
            started.set_result(port)
            await site.sample_until_closing()
        except Exception as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            await runner.cleanup()


class _Site:
    """The handlers, and the loop that feeds the streams."""

    def __init__(self, collector: StatusCollector, token: str, closing: asyncio.Event) -> None:
        self.cookie_name = "continuo"
        self._collector = collector
        self._token = token.encode()
        self._cookie = hmac.new(self._token, b"continuo status page", hashlib.sha256).hexdigest().encode()
        self._closing = closing
        self._streams = 0
        self._event = b""
        self._next_event = asyncio.Event()
        self._page, self._page_policy = _read_page("page")
        self._login, self._login_policy = _read_page("login")

    def app(self) -> web.Application:
        @web.middleware
        async def guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
            return await self._guard(request, handler)

        app = web.Application(middlewares=[guard])
        app.router.add_get("/", self._serve_page)
        app.router.add_get("/events", self._serve_events)
        app.router.add_get("/status.json", self._serve_status)
        app.router.add_get("/metrics", self._serve_metrics)
        app.router.add_post("/tightness", self._take_tightness)
        return app

    async def sample_until_closing(self) -> None:
        samples = 0
        while not self._closing.is_set():
            samples += 1
            if samples % _SAMPLES_PER_EVENT == 0 and self._streams:
                self._event = b"data: " + self._snapshot_json() + b"\n\n"
                self._next_event.set()
                self._next_event = asyncio.Event()
            else:
                self._collector.sample()
            try:
                await asyncio.wait_for(self._closing.wait(), _SAMPLE_S)
            except TimeoutError:
                continue
        self._next_event.set()

    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        response: web.StreamResponse
        if (given := request.query.get("token")) is not None and self._is_token(given):
            response = web.Response(status=303, headers={"Location": request.path})
            response.set_cookie(
                self.cookie_name, self._cookie.decode(), max_age=_COOKIE_S, httponly=True, samesite="Lax"
            )
        elif self._is_known(request):
            response = await handler(request)
        else:
            response = self._refusal(wrong=given is not None)
        if not response.prepared:
            response.headers.update(
                {
                    "Cache-Control": "no-store",
                    "Referrer-Policy": "no-referrer",
                    "X-Content-Type-Options": "nosniff",
                    "X-Frame-Options": "DENY",
                }
            )
        return response

    def _is_token(self, text: str) -> bool:
        return hmac.compare_digest(text.encode("utf-8", "replace"), self._token)

    def _is_known(self, request: web.Request) -> bool:
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and self._is_token(given.strip()):
            return True
        return hmac.compare_digest(request.cookies.get(self.cookie_name, "").encode("utf-8", "replace"), self._cookie)

    def _refusal(self, *, wrong: bool) -> web.Response:
        says = "That was not it. " if wrong else ""
        return web.Response(
            status=401, text=self._login.replace("{says}", says), content_type="text/html",
            headers={"WWW-Authenticate": 'Bearer realm="continuo"', "Content-Security-Policy": self._login_policy},
        )  # fmt: skip

    async def _serve_page(self, request: web.Request) -> web.Response:
        del request
        headers = {"Content-Security-Policy": self._page_policy}
        return web.Response(text=self._page, content_type="text/html", headers=headers)

    async def _serve_status(self, request: web.Request) -> web.Response:
        del request
        return web.Response(body=self._snapshot_json(), content_type="application/json")

    async def _serve_metrics(self, request: web.Request) -> web.Response:
        del request
        return web.Response(
            body=metrics_text(self._collector.snapshot()), headers={"Content-Type": METRICS_CONTENT_TYPE}
        )

    async def _take_tightness(self, request: web.Request) -> web.Response:
        if request.content_type != "application/json":  # a form of another site could send anything else
            return web.Response(status=415, text="send application/json\n")
        try:
            self._collector.set_tightness(float((await request.json())["tightness"]))
        except (ValueError, KeyError, TypeError):
            return web.Response(status=400, text='send {"tightness": 0.5}\n')
        except InputError as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.Response(status=204)

    async def _serve_events(self, request: web.Request) -> web.StreamResponse:
        if self._streams >= _STREAMS_MOST:
            return web.Response(status=503, text="too many pages are open: close some\n")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await response.prepare(request)
        self._streams += 1
        try:
            await response.write(b"data: " + self._snapshot_json() + b"\n\n")
            while not self._closing.is_set():
                await self._next_event.wait()
                await response.write(self._event)
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._streams -= 1
        return response

    def _snapshot_json(self) -> bytes:
        return json.dumps(self._collector.snapshot().as_json(), separators=(",", ":"), allow_nan=False).encode()


def _read_page(name: str) -> tuple[str, str]:
    """A page with its style and script put into it, and the policy that lets it run these and load nothing else."""
    html = _read(f"{name}.html")
    policy = ["default-src 'none'", "connect-src 'self'", "img-src data:", "form-action 'self'", "base-uri 'none'"]
    for tag, text in (("style", _read("colours.css") + _read(f"{name}.css")), ("script", _read(f"{name}.js"))):
        if f"<{tag}></{tag}>" in html:
            html = html.replace(f"<{tag}></{tag}>", f"<{tag}>{text}</{tag}>")
            digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
            policy.append(f"{tag}-src 'sha256-{digest}'")
    return html, "; ".join(policy)


def _read(name: str) -> str:
    path = _WEB / name
    return path.read_text("utf-8") if path.exists() else ""
