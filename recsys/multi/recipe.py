"""The recipe of a multi-task training run, with its defaults."""

from dataclasses import dataclass
from typing import Any, Self

from keras_multi.fields import choose, require
from recsys.retrieval.recipe import RetrievalRecipe

TASKS = {"rating": "regression", "click": "binary"}
WEIGHTINGS = ("fixed", "uncertainty")


@dataclass(frozen=True)
class MultiRecipe(RetrievalRecipe):
    """Everything a multi-task training run depends on, but for the backend.

    The fields of `RetrievalRecipe` and these:

    Attributes:
        tasks: what is predicted beside the retrieval: `"rating"`, `"click"`
            (whether the rating is 4 or more), or both.
        weighting: `"fixed"` weights of the losses, or weights learned by
            `"uncertainty"`.
        retrieval_weight: weight of the retrieval loss if they are fixed.
        task_weight: weight of the loss of each task if they are fixed.
        num_experts: number of experts; one is a shared bottom.
        expert_units: width of each layer of an expert.
        head_units: width of each hidden layer of a task.

    Raises:
        UsageError: if a value is out of range.
    """

    tasks: tuple[str, ...] = ("rating",)
    weighting: str = "fixed"
    retrieval_weight: float = 1.0
    task_weight: float = 1.0
    num_experts: int = 1
    expert_units: tuple[int, ...] = (64,)
    head_units: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        choose("weighting", self.weighting, WEIGHTINGS)
        for task in self.tasks:
            choose("task", task, tuple(TASKS))
        once = len(set(self.tasks)) == len(self.tasks)
        require(
            self,
            "tasks",
            bool(self.tasks) and once,
            "hold at least one task, each once",
        )
        require(self, "num_experts", self.num_experts >= 1, "be at least 1")
        for name in ("retrieval_weight", "task_weight"):
            require(self, name, getattr(self, name) >= 0, "not be negative")
        for name in ("expert_units", "head_units"):
            positive = all(n >= 1 for n in getattr(self, name))
            require(self, name, positive, "hold positive integers")
        require(self, "expert_units", bool(self.expert_units), "not be empty")

    @classmethod
    def of_data(cls, data: str, model: str, **fields: Any) -> Self:
        """Does as `of`; the model is `"multi-task"`."""
        choose("model", model, ("multi-task",))
        return cls.of(data=data, **fields)
