"""What the runner asks of the worker of one cell."""

from pathlib import Path

import pydantic


class Job(pydantic.BaseModel):
    """A cell, told to its process as JSON.

    Attributes:
        subject: name of a workload, path of a workload file, or a user's
            model.
        label: what the results call it.
        backend: its Keras backend.
        precision: a Keras dtype policy, or `"auto"`.
        mode: how the backend runs it.
        batch_sizes: instead of the workload's own, where not empty.
        first_size: whether only the first of the workload's own counts.
        matmul_precision: of float32 products on an accelerator.
        affinity: the cores that it may use; all where empty.
        target: relative half width of the median's interval at which a
            batch size is measured well enough.
        rounds: least number of samples.
        budget: seconds of samples after which a batch size gets fewer of
            them, see `Plan`.
        code: root of the version of this project that runs it.
        compiled: folder of programs that earlier processes compiled; `None`
            to take none.
        weights: file through which the cells of a user's model share their
            start weights.
    """

    model_config = pydantic.ConfigDict(frozen=True)

    subject: str
    label: str
    backend: str
    precision: str
    mode: str
    batch_sizes: tuple[int, ...] = ()
    first_size: bool = False
    matmul_precision: str = "float32"
    affinity: tuple[int, ...] = ()
    target: float = 0.02
    rounds: int = 9
    budget: float = 20.0
    code: Path
    compiled: Path | None = None
    weights: Path

    @property
    def key(self) -> tuple[str, str, str]:
        """Backend, precision and mode."""
        return self.backend, self.precision, self.mode
