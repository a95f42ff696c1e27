"""What the service tells Prometheus."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PATHS = ("/recommend", "/health", "/metrics", "/reload")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The metrics of one application.

    Args:
        queue_depth: gives the number of requests that wait.
    """

    def __init__(self, queue_depth: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "recsys_requests",
            "HTTP requests answered",
            ("path", "status"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "recsys_request_seconds",
            "Time from a request to its answer",
            ("path",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batch_size = Histogram(
            "recsys_batch_size",
            "Requests answered by one call of the models",
            buckets=BATCHES,
            registry=self.registry,
        )
        self.model = Gauge(
            "recsys_model",
            "1 for the version of the artifact in use",
            ("version",),
            registry=self.registry,
        )
        self.reloads = Counter(
            "recsys_reloads",
            "Attempts to load a new version",
            ("result",),
            registry=self.registry,
        )
        Gauge(
            "recsys_queue_depth",
            "Requests that wait for a batch",
            registry=self.registry,
        ).set_function(queue_depth)

    def set_version(self, version: str) -> None:
        """Names the version in use."""
        self.model.clear()
        self.model.labels(version).set(1)


class Measured:
    """Counts requests and their time.

    Args:
        app: what is behind.
        metrics: where to count.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Handles one connection or request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["path"] if scope["path"] in PATHS else "other"
        try:
            await self.app(scope, receive, noted)
        finally:
            self.metrics.requests.labels(path, str(status)).inc()
            self.metrics.seconds.labels(path).observe(
                time.perf_counter() - start
            )
