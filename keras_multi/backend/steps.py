"""A loop of steps, for backends that compile it."""

from collections.abc import Callable
from typing import Any

from keras import ops


def repeated(step: Callable[..., Any]) -> Callable[..., Any]:
    """Gives the loop around a step; see `bind_loop` of the facade."""

    def steps(state: Any, end: Any, *args: Any) -> Any:
        return ops.while_loop(
            lambda count, *_: count < end,
            lambda *state: step(state, *args),
            state,
        )

    return steps
