"""JAX with its optimizations, without which RandAugment takes minutes."""

import pytest

from keras_multi import backend

OPTION = "jax_disable_most_optimizations"


@pytest.fixture(autouse=True, scope="package")
def optimized():
    if backend.name() != "jax":
        yield
        return
    import jax

    before = jax.config.read(OPTION)
    jax.config.update(OPTION, False)
    yield
    jax.config.update(OPTION, before)
