"""Products with matrices that are laid out once, on this backend."""

from itertools import product

import numpy as np
import pytest
from keras import ops

from keras_multi import backend

RNG = np.random.default_rng(0)
WIDTH = 80
kernels = backend.framework()


def tensor(dtype, *shape):
    return ops.convert_to_tensor(RNG.normal(size=shape), dtype)


def close(x, y, dtype):
    tolerance = {"float32": 1e-5, "bfloat16": 2e-2}[dtype]
    scale = np.abs(y).max()
    difference = np.abs(ops.convert_to_numpy(ops.cast(x, "float32")) - y).max()
    assert difference <= tolerance * scale


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rows", [3, 64, 150])
def test_equals_the_product_with_the_matrix_as_it_is(rows, dtype):
    weight, bias = tensor(dtype, rows, WIDTH), tensor(dtype, rows)
    layouts = [kernels.packed(weight, alone, False) for alone in (True, False)]
    for shape in ((1, 1), (1, 3), (2, 1)):
        x = tensor(dtype, *shape, WIDTH)
        expected = [
            ops.convert_to_numpy(ops.cast(t, "float32"))
            for t in (x, weight, bias)
        ]
        expected = expected[0] @ expected[1].T + expected[2]

        def multiply(x, weight):
            return kernels.linear(x, weight, bias)

        for given in (weight, *layouts):
            y = kernels.loop(multiply)(x, given)
            assert y.shape == (*shape, rows)
            assert y.dtype == x.dtype
            close(y, expected, dtype)


@pytest.mark.parametrize("rows", [3, 64, 150])
def test_integers_equal_the_product_with_them(rows):
    values = RNG.integers(-127, 128, (rows, WIDTH)).astype("int8")
    scales, bias = RNG.uniform(size=(2, rows)).astype("float32")
    for shape, alone in product([(1, 1), (1, 3), (2, 1)], [True, False]):
        x = RNG.normal(size=(*shape, WIDTH)).astype("float32")

        def multiply(x, weight):
            return kernels.int8_linear(x, weight, scales, bias)

        packed = kernels.packed_int8(ops.convert_to_tensor(values), alone)
        y = kernels.loop(multiply)(ops.convert_to_tensor(x), packed)
        # The kernel of PyTorch rounds to bfloat16.
        rounds = backend.name() == "torch"
        expected = x @ (values * scales[:, None]).T + bias
        close(y, expected, "bfloat16" if rounds else "float32")


@pytest.mark.skipif(
    backend.name() != "torch", reason="the others compile in any case"
)
@pytest.mark.slow
def test_a_compiled_program_takes_packed_matrices_of_any_model():
    from torch._dynamo import config

    step = kernels.compiled_step(kernels.linear)
    x = tensor("float32", 1, 2, WIDTH)
    with config.patch(error_on_recompile=True), kernels.torch.no_grad():
        for _ in range(2):
            weight = tensor("float32", 20, WIDTH)
            packed = kernels.packed(weight, alone=True, compiled=True)
            close(
                step(x, packed),
                ops.convert_to_numpy(x @ weight.T),
                "float32",
            )
