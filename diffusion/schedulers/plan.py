"""The steps of a sampler as tables, and the one step that they all take."""

from typing import Any, NamedTuple, Self

import numpy as np
from keras import ops

HISTORY = 5  # estimates that a step can use, as many as PNDM needs


class Plan(NamedTuple):
    """What a sampler does in each of its N steps.

    All samplers here are linear in what they are given. From the sample and
    the output of the model a step makes an estimate, of the data or of the
    noise, and then weighs the sample, the last estimates and fresh noise.
    So one program runs every sampler.

    Attributes:
        timesteps: float32 `(N,)`, given to the model.
        input_scale: float32 `(N,)`, factor of the sample for the model.
        estimate_sample: float32 `(N,)`, weight of the sample in an estimate.
        estimate_output: float32 `(N,)`, weight of the model's output in it.
        keep: float32 `(N,)`, weight of the sample in the next one.
        estimates: float32 `(N, HISTORY)`, weights of the estimates, the
            latest first.
        noise: float32 `(N,)`, weight of fresh noise.
        clean_level: float32 `(N + 1,)`, factor of the data in the sample
            before each step and in the end.
        noise_level: float32 `(N + 1,)`, factor of the noise in it.
        initial_noise_scale: float32 scalar, factor of pure noise to start
            from.
    """

    timesteps: Any
    input_scale: Any
    estimate_sample: Any
    estimate_output: Any
    keep: Any
    estimates: Any
    noise: Any
    clean_level: Any
    noise_level: Any
    initial_noise_scale: Any

    @classmethod
    def make(
        cls,
        timesteps: np.ndarray,
        estimate: tuple[np.ndarray, np.ndarray],
        keep: np.ndarray,
        estimates: np.ndarray,
        levels: tuple[np.ndarray, np.ndarray],
        noise: np.ndarray | float = 0.0,
        input_scale: np.ndarray | float = 1.0,
        initial_noise_scale: float = 1.0,
    ) -> Self:
        """Makes a plan of tables in float64.

        Args:
            timesteps: `(N,)`.
            estimate: weights of sample and output in an estimate, `(N,)`.
            keep: `(N,)`.
            estimates: `(N,)` or `(N, k)`, the latest estimate first.
            levels: factors of data and noise, `(N + 1,)`.
            noise: `(N,)`, or the same for all.
            input_scale: `(N,)`, or the same for all.
            initial_noise_scale: factor of pure noise.
        """
        steps = len(timesteps)
        weights = np.zeros((steps, HISTORY))
        estimates = estimates.reshape(steps, -1)
        weights[:, : estimates.shape[1]] = estimates
        tables = (
            timesteps,
            np.broadcast_to(input_scale, steps),
            *estimate,
            keep,
            weights,
            np.broadcast_to(noise, steps),
            *levels,
            np.asarray(initial_noise_scale),
        )
        return cls(*(np.asarray(table, "float32") for table in tables))

    @property
    def num_steps(self) -> int:
        """How often the model is called."""
        return len(self.timesteps)

    @property
    def is_random(self) -> bool:
        """Whether any step adds fresh noise."""
        return bool(np.any(self.noise))

    def padded(self, rows: int) -> Self:
        """Fills the tables up with zeros, to share a compiled program."""
        more = rows - self.num_steps
        return type(self)(
            *(
                np.pad(table, [(0, more)] + [(0, 0)] * (table.ndim - 1))
                if table.ndim
                else table
                for table in self
            )
        )

    def tensors(self) -> Self:
        """Gives the plan with tensors in place of arrays."""
        return type(self)(*map(ops.convert_to_tensor, self))

    def empty_history(self, sample: Any) -> Any:
        """Estimates before the first step, `(HISTORY, *sample.shape)`."""
        return ops.zeros((HISTORY, *sample.shape), "float32")

    def level(self, clean: Any, noise: Any, index: Any) -> Any:
        """Gives data with as much noise as there is before a step.

        Args:
            clean: float32 `(B, h, w, C)`.
            noise: standard normal, of the same shape.
            index: int scalar, number of steps done.
        """
        return (
            ops.take(self.clean_level, index) * clean
            + ops.take(self.noise_level, index) * noise
        )

    def scale_input(self, sample: Any, index: Any) -> Any:
        """Gives the sample as the model wants it.

        Args:
            sample: float32 `(B, h, w, C)`.
            index: int scalar, number of steps done.
        """
        return ops.take(self.input_scale, index) * sample

    def step(
        self, history: Any, output: Any, sample: Any, index: Any, noise: Any
    ) -> tuple[Any, Any]:
        """Takes one step, from more noise to less.

        Args:
            history: float32 `(HISTORY, B, h, w, C)`, the last estimates.
            output: float32 `(B, h, w, C)`, what the model predicts.
            sample: float32 `(B, h, w, C)`.
            index: int scalar, number of steps done.
            noise: standard normal `(B, h, w, C)`.

        Returns:
            The next sample and history.
        """
        estimate = (
            ops.take(self.estimate_sample, index) * sample
            + ops.take(self.estimate_output, index) * output
        )
        history = ops.concatenate([estimate[None], history[:-1]], axis=0)
        weights = ops.take(self.estimates, index, axis=0)
        weights = ops.reshape(weights, (HISTORY, *(1,) * len(sample.shape)))
        sample = (
            ops.take(self.keep, index) * sample
            + ops.sum(weights * history, axis=0)
            + ops.take(self.noise, index) * noise
        )
        return sample, history
