import asyncio
import dataclasses
import json
import threading
import time

import pytest
from fastapi.testclient import TestClient

from keras_multi.errors import UsageError
from recsys.request import Answer, Request
from recsys.serve.app import Settings, create_app
from recsys.serve.batching import Batcher, BusyError
from recsys.two_stage import TwoStageRecommender
from tests.recsys.two_stage_case import make


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifact")
    make().save(folder)
    return folder


@pytest.fixture(scope="module")
def app(artifact):
    return create_app(artifact, Settings(max_batch=2, max_body=2000))


@pytest.fixture(scope="module")
def client(app):
    with TestClient(
        app, raise_server_exceptions=False, client=("127.0.0.1", 1)
    ) as client:
        yield client


def test_answers_are_those_of_the_recommender(client, artifact):
    recommender = TwoStageRecommender.load(artifact)
    body = {
        "user": 3,
        "k": 4,
        "features": {"age": 41},
        "filters": [{"column": "release_year", "at_least": 1985}],
        "boosts": [
            {"condition": {"column": "genres", "any_of": ["War"]}, "add": 0.5}
        ],
        "max_per": {"genres": 3},
    }
    response = client.post("/recommend", json=body)
    assert response.status_code == 200
    from recsys.items import Filter
    from recsys.request import Boost

    request = Request(
        3,
        {"age": 41},
        4,
        filters=(Filter("release_year", at_least=1985),),
        boosts=(Boost(Filter("genres", any_of=("War",)), 0.5),),
        max_per={"genres": 3},
    )
    (answer,) = recommender.recommend([request])
    got, wanted = response.json(), json.loads(json.dumps(answer.as_dict()))
    assert got["version"] == recommender.version
    assert got["source"] == "user"
    assert len(got["items"]) == 4
    for mine, theirs in zip(got["items"], wanted["items"], strict=True):
        assert mine.pop("score") == pytest.approx(theirs.pop("score"))
        for key in ("retrieval_score", "rank_score"):
            assert mine.pop(key) == pytest.approx(theirs.pop(key), abs=1e-5)
        assert mine == theirs


def test_visitors_and_new_users(client):
    visitor = client.post("/recommend", json={}).json()
    assert visitor["source"] == "popularity"
    assert visitor["items"][0]["rank_score"] is None
    new = client.post("/recommend", json={"features": {"age": 30}}).json()
    assert new["source"] == "features"


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        (b"{", 422, "JSON"),
        (b"", 422, "required"),
        (b"[1]", 422, ""),
        (b'{"k": "ten"}', 422, "k"),
        (b'{"k": -1}', 422, "at least 1"),
        (b'{"k": 1000000000}', 422, "at most 20"),
        (b'{"user": 999}', 404, "no user 999"),
        (b'{"user": "x"}', 404, "no user 'x'"),
        (b'{"user": [1]}', 422, "user"),
        (b'{"usr": 1}', 422, "usr"),
        (b'{"features": {"height": 1}}', 422, "no feature 'height'"),
        (b'{"features": {"age": NaN}}', 422, "age must be"),
        (b'{"features": {"age": 1e400}}', 422, "age must be"),
        (b'{"filters": [{"column": "colour"}]}', 422, "no column 'colour'"),
        (b'{"filters": [{"colum": "genres"}]}', 422, "colum"),
        (
            b'{"boosts": [{"condition": {"column": "genres"}, "add": NaN}]}',
            422,
            "1e9",
        ),
        (b'{"max_per": {"genres": 0}}', 422, "max_per"),
        (b'{"user": ' + b"9" * 1900 + b"}", 404, "no user"),
        (b"[" * 1900, 400, "parsing"),
        (b"\xff", 400, "parsing"),
    ],
)
def test_bad_requests_are_named(client, content, status, message):
    headers = {"Content-Type": "application/json"}
    response = client.post("/recommend", content=content, headers=headers)
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    assert message in response.json()["error"]


def test_large_bodies_are_refused_unread(client, app):
    """Also when no length is declared; then reading stops at the limit."""
    response = client.post("/recommend", content=b" " * 2001)
    assert response.status_code == 413
    assert "2,000 bytes" in response.json()["error"]
    sent = 0

    async def call(headers):
        nonlocal sent
        messages, sent = [], 0

        async def receive():
            nonlocal sent
            sent += 1000
            body = {"type": "http.request", "body": b" " * 1000}
            return {**body, "more_body": sent < 10**8}

        async def send(message):
            messages.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": "/recommend",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json"), *headers],
        }
        await app(scope, receive, send)
        return messages[0]["status"]

    declared = [(b"content-length", b"100000000")]
    assert asyncio.run(call(declared)) == 413
    assert sent == 0
    assert asyncio.run(call([])) == 413
    assert sent == 3000


def test_health_metrics_and_the_page_of_the_interface(client, artifact):
    version = TwoStageRecommender.load(artifact).version
    health = client.get("/health")
    assert health.status_code == 200
    assert health.json() == {"live": True, "ready": True, "version": version}
    client.post("/recommend", json={"user": 1})
    text = client.get("/metrics").text
    for line in (
        'recsys_requests_total{path="/recommend",status="200"}',
        'recsys_request_seconds_bucket{le="0.1",path="/recommend"}',
        'recsys_batch_size_bucket{le="1.0"}',
        "recsys_queue_depth 0.0",
        f'recsys_model{{version="{version}"}} 1.0',
    ):
        assert line in text
    assert client.get("/docs").status_code == 200
    described = client.get("/openapi.json").json()
    assert "/recommend" in described["paths"]
    assert client.get("/nothing").json() == {"error": "Not Found"}


@pytest.mark.slow
def test_reload_under_load_loses_nothing(tmp_path):
    first = make(seed=1).save(tmp_path)
    app = create_app(tmp_path, Settings(max_batch=4))
    answers, failures, stop = [], [], threading.Event()
    with TestClient(app, client=("127.0.0.1", 1)) as client:

        def ask():
            while not stop.is_set():
                response = client.post("/recommend", json={"user": 2})
                if response.status_code != 200:
                    failures.append(response.text)
                answers.append(response.json()["version"])

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        second = make(seed=2).save(tmp_path)
        assert client.post("/reload").json() == {"version": second}
        count = len(answers)
        while len(answers) < count + 20:
            time.sleep(0.01)
        stop.set()
        for thread in threads:
            thread.join()
        assert not failures
        assert set(answers) == {first, second}
        assert answers[-1] == second
        (tmp_path / second / "vectors.npz").write_bytes(b"")
        refused = client.post("/reload")
        assert refused.status_code == 500
        assert "damaged" in refused.json()["error"]
        assert client.post("/recommend", json={"user": 2}).is_success
        assert 'recsys_reloads_total{result="failure"} 1.0' in (
            client.get("/metrics").text
        )


def test_only_the_machine_itself_may_reload(app):
    far = TestClient(app, client=("192.0.2.1", 1))
    assert far.post("/reload").status_code == 403


class Slow:
    """Stands in for a recommender: counts, waits, fails for user 13."""

    def __init__(self, seconds=0.0):
        self.seconds, self.batches = seconds, []

    def recommend(self, requests):
        self.batches.append([request.user for request in requests])
        time.sleep(self.seconds)
        if any(request.user == 13 for request in requests):
            raise ValueError("thirteen")
        return [Answer("v", str(request.user), ()) for request in requests]


def run(batcher, work):
    async def inside():
        batcher.start()
        try:
            return await work()
        finally:
            await batcher.close()

    return asyncio.run(inside())


def make_batcher(**changes):
    options = {"max_batch": 3, "max_wait": 0.05, "max_queue": 9, "timeout": 5}
    return Batcher(**{**options, **changes}, observe=lambda size: None)


def test_requests_that_come_together_are_one_batch():
    slow, batcher = Slow(), make_batcher()

    async def work():
        requests = [Request(i) for i in range(7)]
        return await asyncio.gather(
            *(batcher.submit(slow, request) for request in requests)
        )

    answers = run(batcher, work)
    assert [a.source for a in answers] == [str(i) for i in range(7)]
    assert slow.batches == [[0, 1, 2], [3, 4, 5], [6]]


def test_one_failure_does_not_spoil_the_batch():
    slow, batcher = Slow(), make_batcher()

    async def work():
        return await asyncio.gather(
            *(batcher.submit(slow, Request(i)) for i in (12, 13, 14)),
            return_exceptions=True,
        )

    twelve, thirteen, fourteen = run(batcher, work)
    assert (twelve.source, fourteen.source) == ("12", "14")
    assert isinstance(thirteen, ValueError)


def test_each_request_is_answered_by_what_checked_it():
    old, new, batcher = Slow(), Slow(), make_batcher()

    async def work():
        return await asyncio.gather(
            *(batcher.submit(m, Request(i)) for i, m in enumerate([old, new]))
        )

    assert [a.source for a in run(batcher, work)] == ["0", "1"]
    assert (old.batches, new.batches) == ([[0]], [[1]])


def test_a_full_queue_refuses_and_a_slow_answer_ends():
    slow = Slow(0.3)
    batcher = make_batcher(max_batch=1, max_queue=2, timeout=0.1)

    async def work():
        first = asyncio.ensure_future(batcher.submit(slow, Request(0)))
        await asyncio.sleep(0.05)
        return await asyncio.gather(
            first,
            *(batcher.submit(slow, Request(i)) for i in (1, 2, 3)),
            return_exceptions=True,
        )

    results = run(batcher, work)
    assert [type(r) for r in results] == [TimeoutError] * 3 + [BusyError]
    assert slow.batches == [[0]]  # Nobody waits for the others any more.


def test_closing_answers_what_waits():
    slow = Slow(0.05)
    batcher = make_batcher(max_batch=2)
    waiting = []

    async def work():
        waiting.extend(
            asyncio.ensure_future(batcher.submit(slow, Request(i)))
            for i in range(5)
        )
        await asyncio.sleep(0)

    run(batcher, work)
    assert [w.result().source for w in waiting] == list("01234")


def test_a_busy_service_says_when_to_come_back(artifact, monkeypatch):
    app = create_app(artifact, Settings(max_batch=1, max_queue=1))

    async def full(*_):
        raise BusyError("too many requests wait; try again")

    async def late(*_):
        raise TimeoutError

    with TestClient(app) as client:
        monkeypatch.setattr(Batcher, "submit", full)
        response = client.post("/recommend", json={"user": 1})
        assert response.status_code == 503
        assert response.headers["Retry-After"] == "1"
        monkeypatch.setattr(Batcher, "submit", late)
        assert client.post("/recommend", json={"user": 1}).status_code == 504


def test_bad_settings_are_named():
    for field in dataclasses.fields(Settings):
        with pytest.raises(UsageError, match=field.name):
            Settings(**{field.name: -1})
