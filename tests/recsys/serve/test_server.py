"""A real process: stopped, killed, reloaded, loaded."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from recsys.serve.load import load
from tests.recsys.two_stage_case import make

CODE = (
    "import sys\n"
    "from recsys.serve.server import serve\n"
    "serve(sys.argv[1], port=int(sys.argv[2]), max_batch=4)"
)


class Server:
    """The service in a process of its own."""

    def __init__(self, folder):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [sys.executable, "-c", CODE, str(folder), str(self.port)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stderr=subprocess.DEVNULL,
        )
        for _ in range(1200):
            try:
                self.get("/health")
                return
            except urllib.error.URLError:
                assert self.process.poll() is None, "the service has ended"
                time.sleep(0.05)
        raise AssertionError("the service does not start")

    def get(self, path, body=None):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)


@pytest.fixture
def folder(tmp_path):
    make().save(tmp_path)
    return tmp_path


def test_killed_and_stopped(folder):
    server = Server(folder)
    before = server.get("/recommend", {"user": 5})
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /recommend HTTP/1.1\r\nHost: x\r\n"
            b"Content-Length: 100000000\r\n\r\n" + b" " * 1000
        )
        client.settimeout(10)
        assert b" 413 " in client.recv(1000)
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()

    server = Server(folder)
    assert server.get("/recommend", {"user": 5}) == before
    outcome = {}
    bodies = [{"user": 1 + i % 12} for i in range(50)]
    loading = threading.Thread(
        target=lambda: outcome.update(
            load(bodies, port=server.port, connections=8, seconds=6)
        )
    )
    loading.start()
    time.sleep(1)
    version = make(seed=5).save(folder)
    server.process.send_signal(signal.SIGHUP)
    loading.join()
    assert outcome["errors"] == 0
    assert outcome["requests"] > 50
    assert 0 < outcome["p50_ms"] <= outcome["p99_ms"] <= outcome["max_ms"]
    for _ in range(600):
        if server.get("/health")["version"] == version:
            break
        time.sleep(0.05)
    assert server.get("/recommend", {"user": 5})["version"] == version

    # In flight: the head is there, the body follows after the signal.
    body = b'{"user": 5}'
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(
            b"POST /recommend HTTP/1.1\r\nHost: x\r\n"
            b"Content-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        client.sendall(body)
        client.settimeout(10)
        assert b" 200 " in client.recv(1000)
    assert server.process.wait(20) in (0, -signal.SIGTERM)
