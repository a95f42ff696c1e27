"""Runs the service."""

import os
from typing import Any

from keras_multi.errors import UsageError

STOP_SECONDS = 30


def serve(
    artifact: str | os.PathLike[str],
    host: str = "127.0.0.1",
    port: int = 8000,
    **limits: Any,
) -> None:
    """Serves recommendations over HTTP until SIGTERM or SIGINT.

    Then it takes no new connections, finishes what is in flight (for at most
    30 seconds) and returns. SIGHUP puts a new version of the artifact into
    use without a request lost. The service holds no state of its own.

    Args:
        artifact: folder of a `TwoStageRecommender`.
        host: address to listen on.
        port: port to listen on.
        **limits: fields of `recsys.serve.app.Settings`.

    Raises:
        UsageError: if the extra `serve` is not installed, or a limit is out
            of range.
        DataError: if the artifact is missing or damaged.
    """
    try:
        import uvicorn

        from recsys.serve.app import Settings, create_app
    except ImportError as error:
        raise UsageError(
            f"serving needs {error.name}; run: pip install 'keras-multi[serve]'"
        ) from error
    app = create_app(artifact, Settings(**limits))
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_level="info",
        access_log=False,
        timeout_graceful_shutdown=STOP_SECONDS,
    )
