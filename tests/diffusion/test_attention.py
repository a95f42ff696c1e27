import numpy as np
import pytest
from keras import ops

from diffusion import attention
from keras_multi import backend

RNG = np.random.default_rng(3)
X, CONTEXT = (
    RNG.normal(size=shape).astype("float32") for shape in ((2, 6, 8), (2, 3, 5))
)
MASK = np.array([[True, True, False], [True, True, True]])


def by_numpy(weights, heads):
    """Softmax of the scores of each head, written out."""
    query, key, value, output, bias = weights
    joined = np.empty_like(X)
    for row in range(2):
        q, k, v = X[row] @ query, CONTEXT[row] @ key, CONTEXT[row] @ value
        for columns in np.split(np.arange(8), heads):
            scores = q[:, columns] @ k[:, columns].T / np.sqrt(8 / heads)
            scores = np.exp(scores) * MASK[row]
            scores /= scores.sum(axis=1, keepdims=True)
            joined[row][:, columns] = scores @ v[:, columns]
    return joined @ output + bias


@pytest.mark.parametrize("limit", [10**6, 30, 1])
def test_all_or_some_queries_at_a_time(monkeypatch, limit):
    """There are 2 * 2 * 6 * 3 scores."""
    monkeypatch.setattr(attention, "MAX_SCORES", limit)
    layer = attention.Attention(2)
    layer.build(X.shape, CONTEXT.shape)
    slices = {10**6: 1, 30: 3, 1: 6}[limit]
    assert layer._slices(X, CONTEXT) == slices
    attend = backend.bind(layer, lambda *inputs: layer(*inputs))
    outputs = attend(*map(ops.convert_to_tensor, (X, CONTEXT, MASK)))
    expected = by_numpy(layer.get_weights(), 2)
    np.testing.assert_allclose(
        ops.convert_to_numpy(outputs), expected, atol=1e-5
    )
