"""PyTorch's kernels compute what the layers of Keras do."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from keras_multi import backend

if backend.name() != "torch":
    pytest.skip("only PyTorch has these", allow_module_level=True)

from keras_multi.backend.torch_layers import FusedLayers, lay_out_kernels
from keras_multi.layers import Conv2D

SAME = {"padding": "same"}
CASES = [
    (layers.Conv2D(4, 3), (7, 8, 2)),
    (layers.Conv2D(4, 3, 2, activation="relu", **SAME), (7, 8, 2)),
    (layers.Conv2D(4, (4, 2), (1, 2), **SAME), (6, 6, 2)),
    (layers.Conv2D(4, 3, dilation_rate=2, groups=2, **SAME), (6, 5, 4)),
    (layers.Conv2D(4, 3, data_format="channels_first"), (2, 6, 6)),
    (layers.Conv2D(4, 1, (2, 3)), (7, 8, 8)),
    (Conv2D(4, 3, 2, **SAME), (7, 8, 2)),
    (layers.DepthwiseConv2D(3, 2, depth_multiplier=2, **SAME), (7, 8, 3)),
    (layers.DepthwiseConv2D(3, use_bias=False, activation="tanh"), (6, 6, 3)),
    (layers.MaxPooling2D(3, 2, **SAME), (8, 8, 2)),
    (layers.MaxPooling2D(3, 2, **SAME), (7, 7, 2)),
    (layers.MaxPooling2D(3, 2, **SAME), (7, 8, 2)),
    (layers.MaxPooling2D((5, 4), (3, 2), **SAME), (9, 10, 2)),
    (layers.MaxPooling2D(2, 1, **SAME), (6, 6, 2)),
    (layers.MaxPooling2D(3, 2), (8, 7, 2)),
    (layers.MaxPooling2D(data_format="channels_first"), (2, 6, 6)),
    (layers.BatchNormalization(), (5, 5, 3)),
    (layers.BatchNormalization(), (4,)),
    (layers.BatchNormalization(momentum=0.7, epsilon=1e-5), (6, 3)),
    (layers.BatchNormalization(scale=False), (2, 3)),
    (layers.BatchNormalization(center=False), (2, 3)),
    (layers.BatchNormalization(axis=1), (2, 3)),
    (layers.BatchNormalization(trainable=False), (2, 3)),
    (layers.BatchNormalization(renorm=True), (2, 3)),
    (layers.BatchNormalization(dtype="float64"), (2, 3)),
]


def results(layer, model, values, fused):
    """Outputs, gradients by inputs and weights, and statistics."""
    inputs = keras.Variable(values)
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.uniform(0.5, 1.5, weight.shape))

    def loss():
        outputs = model(inputs.value, training=True)
        found.append(outputs)
        cotangent = np.random.default_rng(2).normal(size=outputs.shape)
        return ops.sum(outputs * ops.cast(cotangent, outputs.dtype))

    found = []
    variables = [inputs, *layer.trainable_variables]
    if fused:
        with FusedLayers(model):
            _, gradients = backend.value_and_gradients(loss, variables)
    else:
        _, gradients = backend.value_and_gradients(loss, variables)
    found += [*gradients, *layer.non_trainable_variables]
    return [ops.convert_to_numpy(x) for x in found]


@pytest.mark.parametrize(("layer", "shape"), CASES)
def test_equals_keras(layer, shape):
    model = keras.Sequential([keras.Input(shape), layer])
    values = np.random.default_rng(0).normal(2, 1, (3, *shape))
    expected = results(layer, model, values, fused=False)
    found = results(layer, model, values, fused=True)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("kind", [layers.Conv2D, Conv2D])
def test_a_subclass_is_left_alone(kind):
    class Doubled(kind):
        def convolution_op(self, inputs, kernel):
            return 2 * super().convolution_op(inputs, kernel)

    layer = Doubled(4, 3)
    model = keras.Sequential([keras.Input((6, 6, 2)), layer])
    values = np.ones((1, 6, 6, 2))
    for ours, theirs in zip(
        results(layer, model, values, fused=True),
        results(layer, model, values, fused=False),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_strided_kernel_of_one_place_trains_whatever_the_channels():
    layer = layers.Conv2D(4, 1, 2)
    model = keras.Sequential([keras.Input((7, 8, 3)), layer])
    values = np.random.default_rng(0).normal(size=(3, 7, 8, 3))
    outputs, by_inputs, *_ = results(layer, model, values, fused=True)
    kernel, bias = layer.get_weights()
    expected = values[:, ::2, ::2] @ kernel[0, 0] + bias
    np.testing.assert_allclose(outputs, expected, rtol=2e-5, atol=2e-5)
    assert not by_inputs[:, 1::2].any()


def test_kernels_keep_their_values_wherever_they_lie():
    model = keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(4, 3)])
    model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    model.train_on_batch(np.ones((1, 6, 6, 2)), np.ones((1, 4, 4, 4)))
    before = [*model.get_weights(), *map(np.array, model.optimizer.variables)]
    lay_out_kernels(model)
    after = [*model.get_weights(), *map(np.array, model.optimizer.variables)]
    for ours, theirs in zip(after, before, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    kernel = model.layers[0].kernel.value
    assert kernel.permute(3, 0, 1, 2).is_contiguous()
