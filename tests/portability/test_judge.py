"""Verdicts on answers that real backends give rarely."""

import numpy as np
import pytest

from keras_multi.portability import judge as module
from keras_multi.portability.child import Answer
from keras_multi.portability.judge import Judge
from keras_multi.portability.report import FAILED, NOT_JUDGED, NOTE, OK

BACKENDS = ("jax", "torch", "tensorflow")
MODEL = {"embeddings": []}


@pytest.fixture
def answers(tmp_path):
    """Makes the answers of three backends; `changes` are by backend."""
    made = iter(range(100))

    def make(arrays, changes=None, failures=None, **values):
        result = {}
        for name in BACKENDS:
            path = tmp_path / f"{next(made)}.npz"
            np.savez(path, **(arrays | (changes or {}).get(name, {})))
            failure = (failures or {}).get(name, ("", ""))
            result[name] = Answer(values, path, *failure)
        return result

    return make


def test_a_model_that_draws_in_inference_is_not_judged(answers):
    judge = Judge("jax", MODEL)
    check = judge.outputs(answers({"y": np.ones(3)}, random=["noise"]))
    assert check.status == NOT_JUDGED
    assert judge.random
    assert "at random in inference" in check.detail


def test_a_difference_in_gradients_alone_names_the_last_weight(answers):
    judge = Judge("jax", MODEL)
    assert judge.outputs(answers({"y": np.ones(3)})).status == OK
    same = {"loss": np.array(2.0), "g0": np.ones(4), "g1": np.ones(2)}
    weights = {"weights": ["first/kernel", "second/kernel"]}
    assert judge.gradients(answers(same, **weights)).status == OK
    both = {"torch": {"g0": 1.1 * np.ones(4), "g1": 1.1 * np.ones(2)}}
    check = judge.gradients(answers(same, both, **weights))
    assert check.status == FAILED
    (finding,) = check.findings
    assert finding.kind == "gradient"
    assert finding.layer == "second/kernel"
    assert finding.backends == ("torch",)
    assert finding.error == pytest.approx(0.1, rel=1e-3)


def test_training_that_parts_on_tensorflow_by_an_embedding_is_a_note(answers):
    losses = {"losses": np.array([1.0, 0.9])}
    parted = {"tensorflow": {"losses": np.array([1.0, 0.5])}}
    gradients = answers({"loss": np.array(1.0)}, weights=[])
    for embeddings, others, status in [
        (["words"], {}, NOTE),
        ([], {}, FAILED),
        (["words"], {"torch": parted["tensorflow"]}, FAILED),
    ]:
        judge = Judge("jax", {"embeddings": embeddings})
        judge.outputs(answers({"y": np.ones(3)}))
        judge.gradients(gradients)
        check = judge.training(answers(losses, parted | others))
        assert check.status == status, (embeddings, others)
        if status == NOTE:
            assert check.findings[0].layer == "words"


@pytest.mark.parametrize(
    ("kind", "compiler", "status", "words"),
    [
        ("error", False, NOT_JUDGED, "C++ compiler"),
        ("hang", True, NOT_JUDGED, "time limit"),
        ("error", True, FAILED, ""),
    ],
)
def test_a_compiler_that_is_missing_or_slow_is_no_fault_of_the_model(
    answers, monkeypatch, kind, compiler, status, words
):
    monkeypatch.setattr(module, "_has_compiler", lambda: compiler)
    judge = Judge("jax", MODEL)
    judge.outputs(answers({"y": np.ones(3)}))
    failures = {"torch": ("torch.compile failed", kind)}
    check = judge.jit(answers({"y": np.ones(3)}, failures=failures))
    assert check.status == status
    assert words in check.detail
