"""The application: paths, errors, start and stop."""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import fastapi
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

from keras_multi.errors import KerasMultiError, UsageError
from recsys.request import Answer, Request, UnknownUserError
from recsys.serve.batching import Batcher, BusyError
from recsys.serve.limits import BodyLimit
from recsys.serve.metrics import Measured, Metrics
from recsys.two_stage import TwoStageRecommender

LOOPBACK = ("127.0.0.1", "::1")


@dataclass(frozen=True)
class Settings:
    """Limits of the service.

    Attributes:
        max_batch: requests that the models answer together.
        max_wait: seconds that a request waits for others to join it.
        max_queue: requests that may wait; more get 503.
        max_body: bytes of a body; more get 413.
        timeout: seconds until an answer must be there; else 504.

    Raises:
        UsageError: if a limit is not positive (`max_wait`: negative).
    """

    max_batch: int = 32
    max_wait: float = 0.002
    max_queue: int = 256
    max_body: int = 65_536
    timeout: float = 10.0

    def __post_init__(self) -> None:
        for name in ("max_batch", "max_queue", "max_body", "timeout"):
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"{name} must be positive. "
                    f"Received: {name}={getattr(self, name)}"
                )
        if not self.max_wait >= 0:
            raise UsageError(
                "max_wait must not be negative. "
                f"Received: max_wait={self.max_wait}"
            )


class Service:
    """The recommender in use and what answers with it.

    Args:
        folder: the artifact.
        settings: the limits.

    Raises:
        DataError: if the artifact is missing or damaged.
    """

    def __init__(
        self, folder: str | os.PathLike[str], settings: Settings
    ) -> None:
        self.folder, self.settings = folder, settings
        self.batcher = Batcher(
            settings.max_batch,
            settings.max_wait,
            settings.max_queue,
            settings.timeout,
            lambda size: self.metrics.batch_size.observe(size),
        )
        self.metrics = Metrics(self.batcher.depth)
        self.recommender = self._load()
        self.metrics.set_version(self.recommender.version)
        self._loader = ThreadPoolExecutor(1, "reload")

    def _load(self) -> TwoStageRecommender:
        recommender = TwoStageRecommender.load(self.folder)
        recommender.warm_up(self.settings.max_batch)
        return recommender

    async def reload(self) -> str:
        """Puts the current version of the artifact into use.

        It is loaded and warmed up beside the old one, which goes on
        answering and finishes what it has begun.

        Returns:
            The version.

        Raises:
            DataError: if it cannot be loaded. The old one stays.
        """
        loop = asyncio.get_running_loop()
        try:
            recommender = await loop.run_in_executor(self._loader, self._load)
        except KerasMultiError:
            self.metrics.reloads.labels("failure").inc()
            raise
        self.metrics.reloads.labels("success").inc()
        self.recommender = recommender
        self.metrics.set_version(recommender.version)
        return recommender.version

    async def reload_on_signal(self) -> None:
        """Reloads and tells the outcome on stderr."""
        try:
            print(f"reloaded: version {await self.reload()}", file=sys.stderr)
        except KerasMultiError as error:
            print(f"not reloaded: {error}", file=sys.stderr)

    @contextlib.asynccontextmanager
    async def running(self, app: Any) -> AsyncIterator[None]:
        """Answers from start to stop; SIGHUP reloads."""
        loop = asyncio.get_running_loop()
        tasks: set[asyncio.Task[None]] = set()

        def reload() -> None:
            task = loop.create_task(self.reload_on_signal())
            tasks.add(task)
            task.add_done_callback(tasks.discard)

        if threading.current_thread() is threading.main_thread():
            loop.add_signal_handler(signal.SIGHUP, reload)
        self.batcher.start()
        yield
        await self.batcher.close()
        self._loader.shutdown()


def create_app(
    folder: str | os.PathLike[str], settings: Settings | None = None
) -> fastapi.FastAPI:
    """Makes the application.

    `POST /recommend` answers a request, `GET /health` tells whether the
    service can, `GET /metrics` is for Prometheus, `POST /reload` (from the
    same machine) puts a new version of the artifact into use, and `GET
    /docs` describes all this. An error is `{"error": "..."}`.

    Args:
        folder: the artifact of a `TwoStageRecommender`.
        settings: the limits.

    Returns:
        The application, warmed up.

    Raises:
        DataError: if the artifact is missing or damaged.
    """
    settings = settings or Settings()
    service = Service(folder, settings)
    app = fastapi.FastAPI(
        title="keras-multi recommender", lifespan=service.running
    )
    app.add_middleware(BodyLimit, max_bytes=settings.max_body)
    app.add_middleware(Measured, metrics=service.metrics)
    _add_error_handlers(app)

    @app.post("/recommend", response_model=Answer)
    async def recommend(request: Request) -> JSONResponse:
        """Recommend items to a user, or the most popular to a visitor."""
        recommender = service.recommender
        recommender.check(request)
        answer = await service.batcher.submit(recommender, request)
        return JSONResponse(answer.as_dict())

    @app.get("/health")
    async def health() -> JSONResponse:
        """Tell whether requests are answered, and by which version."""
        ready = service.batcher.running
        content = {
            "live": True,
            "ready": ready,
            "version": service.recommender.version,
        }
        return JSONResponse(content, 200 if ready else 503)

    @app.get("/metrics")
    async def metrics() -> fastapi.Response:
        """Give the metrics in the format of Prometheus."""
        content = generate_latest(service.metrics.registry)
        return fastapi.Response(content, media_type=CONTENT_TYPE_LATEST)

    @app.post("/reload")
    async def reload(request: fastapi.Request) -> JSONResponse:
        """Put the current version of the artifact into use."""
        if request.client is None or request.client.host not in LOOPBACK:
            raise HTTPException(403, "only the machine itself may reload")
        return JSONResponse({"version": await service.reload()})

    return app


def _add_error_handlers(app: fastapi.FastAPI) -> None:
    def says(status: int, message: str, **headers: str) -> JSONResponse:
        return JSONResponse({"error": message}, status, headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Any, error: RequestValidationError) -> JSONResponse:
        problems = []
        for problem in error.errors():
            place = ".".join(map(str, problem["loc"][1:])) or "body"
            problems.append(f"{place}: {problem['msg']}")
        return says(422, "; ".join(problems))

    @app.exception_handler(HTTPException)
    async def refused(_: Any, error: HTTPException) -> JSONResponse:
        return says(error.status_code, error.detail, **(error.headers or {}))

    @app.exception_handler(UnknownUserError)
    async def unknown(_: Any, error: UnknownUserError) -> JSONResponse:
        return says(404, str(error))

    @app.exception_handler(UsageError)
    async def unusable(_: Any, error: UsageError) -> JSONResponse:
        return says(422, str(error))

    @app.exception_handler(BusyError)
    async def busy(_: Any, error: BusyError) -> JSONResponse:
        return says(503, str(error), **{"Retry-After": "1"})

    @app.exception_handler(TimeoutError)
    async def late(_: Any, error: TimeoutError) -> JSONResponse:
        return says(504, "the answer took too long")

    @app.exception_handler(KerasMultiError)
    async def failed(_: Any, error: KerasMultiError) -> JSONResponse:
        return says(500, str(error))
