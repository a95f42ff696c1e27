"""A load test: connections that send one request after the other.

    python -m recsys.serve.load --users 943 --seconds 30 --connections 32

The client writes HTTP itself, so that little of the machine goes to it. Each
connection waits for an answer before it sends again: while the service is
slow, less is asked of it.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import typer


def load(
    bodies: Sequence[dict[str, Any]],
    host: str = "127.0.0.1",
    port: int = 8000,
    connections: int = 32,
    seconds: float = 30.0,
) -> dict[str, Any]:
    """Sends requests to `POST /recommend` and measures the answers.

    Args:
        bodies: what to send, in turn.
        host: address of the service.
        port: its port.
        connections: number of connections, each with one request at a time.
        seconds: how long to send.

    Returns:
        `requests`, `errors` (answers other than 200 and broken connections),
        `statuses` (number by status; 0 for a broken connection),
        `requests_per_second`, and `p50_ms`, `p99_ms` and `max_ms` of the
        time from sending to the whole answer, over the answers of 200.
    """
    times, statuses = asyncio.run(
        _load(
            [_message(b, host) for b in bodies],
            host,
            port,
            connections,
            seconds,
        )
    )
    milliseconds = np.array(times or [float("nan")]) * 1e3
    total = sum(statuses.values())
    return {
        "requests": total,
        "errors": total - statuses[200],
        "statuses": dict(statuses),
        "requests_per_second": total / seconds,
        "p50_ms": float(np.percentile(milliseconds, 50)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "max_ms": float(milliseconds.max()),
    }


async def _load(
    messages: Sequence[bytes],
    host: str,
    port: int,
    connections: int,
    seconds: float,
) -> tuple[list[float], Counter[int]]:
    times: list[float] = []
    statuses: Counter[int] = Counter()
    end = time.perf_counter() + seconds

    async def send(number: int) -> None:
        writer = None
        while (start := time.perf_counter()) < end:
            message = messages[number % len(messages)]
            number += connections
            try:
                if writer is None:
                    reader, writer = await asyncio.open_connection(host, port)
                writer.write(message)
                status = await _answer(reader)
            except (OSError, asyncio.IncompleteReadError):
                status, writer = 0, None
                await asyncio.sleep(0.01)
            statuses[status] += 1
            if status == 200:
                times.append(time.perf_counter() - start)
        if writer is not None:
            writer.close()

    await asyncio.gather(*map(send, range(connections)))
    return times, statuses


def _message(body: dict[str, Any], host: str) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST /recommend HTTP/1.1\r\nHost: {host}\r\n"
        "Content-Type: application/json\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def _answer(reader: asyncio.StreamReader) -> int:
    """Reads one answer and gives its status."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    await reader.readexactly(length)
    return int(head.split(" ", 2)[1])


def main(
    users: Annotated[int, typer.Option(help="Ask for users 1 to this.")],
    host: str = "127.0.0.1",
    port: int = 8000,
    connections: int = 32,
    seconds: float = 30.0,
    k: int = 10,
) -> None:
    """Loads a service and prints the figures as JSON."""
    rng = np.random.default_rng(0)
    order = (rng.permutation(users) + 1).tolist()
    bodies = [{"user": user, "k": k} for user in order]
    print(json.dumps(load(bodies, host, port, connections, seconds)))


if __name__ == "__main__":
    typer.run(main)
