"""Dynamic batching: requests that come together are answered together."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from keras_multi.errors import KerasMultiError
from recsys.request import Answer, Request
from recsys.two_stage import TwoStageRecommender


class BusyError(KerasMultiError):
    """The queue is full."""


class Waiting(NamedTuple):
    """A request in the queue, with the recommender that has checked it."""

    recommender: TwoStageRecommender
    request: Request
    answer: asyncio.Future[Answer]


class Batcher:
    """Collects requests and answers them on one thread.

    A batch closes when it is full or when its first request has waited long
    enough, whichever is first. While one is computed, the next one fills.

    Args:
        max_batch: requests in a batch.
        max_wait: seconds that the first request waits for others.
        max_queue: requests that may wait.
        timeout: seconds after which the wait for an answer ends.
        observe: called with the size of each batch.
    """

    def __init__(
        self,
        max_batch: int,
        max_wait: float,
        max_queue: int,
        timeout: float,
        observe: Callable[[int], None],
    ) -> None:
        self.max_batch, self.max_wait = max_batch, max_wait
        self.timeout, self._observe = timeout, observe
        self._queue: asyncio.Queue[Waiting | None] = asyncio.Queue(max_queue)
        self._thread = ThreadPoolExecutor(1, "recommend")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to answer; call it in the running event loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    @property
    def running(self) -> bool:
        """Whether requests are being answered."""
        return self._task is not None and not self._task.done()

    def depth(self) -> int:
        """Number of requests that wait."""
        return self._queue.qsize()

    async def submit(
        self, recommender: TwoStageRecommender, request: Request
    ) -> Answer:
        """Answers one request.

        Raises:
            BusyError: if too many requests wait.
            TimeoutError: if there is no answer in time.
        """
        future = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(Waiting(recommender, request, future))
        except asyncio.QueueFull:
            raise BusyError("too many requests wait; try again") from None
        return await asyncio.wait_for(future, self.timeout)

    async def close(self) -> None:
        """Answers what waits, then ends."""
        await self._queue.put(None)
        if self._task is not None:
            await self._task
        self._thread.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        going = True
        while going:
            batch, going = await self._collect()
            batch = [one for one in batch if not one.answer.done()]
            if not batch:
                continue
            self._observe(len(batch))
            answers = await loop.run_in_executor(
                self._thread, answer_all, batch
            )
            for one, answer in zip(batch, answers, strict=True):
                if one.answer.done():  # Its client did not wait.
                    continue
                if isinstance(answer, Exception):
                    one.answer.set_exception(answer)
                else:
                    one.answer.set_result(answer)

    async def _collect(self) -> tuple[list[Waiting], bool]:
        """Gives a batch, and whether there may be more."""
        one = await self._queue.get()
        if one is None:
            return [], False
        batch = [one]
        try:
            async with asyncio.timeout(self.max_wait):
                while len(batch) < self.max_batch:
                    one = await self._queue.get()
                    if one is None:
                        return batch, False
                    batch.append(one)
        except TimeoutError:
            pass
        return batch, True


def answer_all(batch: Sequence[Waiting]) -> list[Answer | Exception]:
    """Answers a batch; what fails is returned, not raised.

    If the batch fails as a whole, each request is answered alone, so that
    one cannot spoil the others.
    """
    answers: dict[int, Answer | Exception] = {}
    for recommender in {
        id(b.recommender): b.recommender for b in batch
    }.values():
        places = [
            i for i, b in enumerate(batch) if b.recommender is recommender
        ]
        requests = [batch[i].request for i in places]
        try:
            found: Sequence[Answer | Exception] = recommender.recommend(
                requests
            )
        except Exception as error:
            found = [error]
            if len(places) > 1:
                found = [answer_all([batch[i]])[0] for i in places]
        answers |= dict(zip(places, found, strict=True))
    return [answers[i] for i in range(len(batch))]
