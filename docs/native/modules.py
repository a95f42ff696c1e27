"""The other way round: a module of each framework as a layer of Keras.

    KERAS_BACKEND=jax python docs/native/modules.py   # or torch, tensorflow

Each function makes the same layer, `tanh(x @ kernel + bias)`, in the manner
of its framework. `Model.fit` trains it with the Keras layers around it.
"""

import tempfile
from typing import Any

import keras
import numpy as np

from keras_multi import backend


def flax_layer(kernel: np.ndarray, bias: np.ndarray) -> keras.layers.Layer:
    """JAX: a Flax module, with weights that it already has."""
    from flax import linen

    class Module(linen.Module):
        @linen.compact
        def __call__(self, inputs: Any) -> Any:
            return linen.tanh(linen.Dense(kernel.shape[1])(inputs))

    weights = {"Dense_0": {"kernel": kernel, "bias": bias}}
    return keras.layers.FlaxLayer(Module(), variables={"params": weights})


def torch_layer(kernel: np.ndarray, bias: np.ndarray) -> keras.layers.Layer:
    """PyTorch: a `torch.nn.Module`."""
    import torch

    linear = torch.nn.Linear(*kernel.shape)
    with torch.no_grad():
        linear.weight.copy_(torch.as_tensor(kernel.T))
        linear.bias.copy_(torch.as_tensor(bias))
    module = torch.nn.Sequential(linear, torch.nn.Tanh())
    return keras.layers.TorchModuleWrapper(
        module, output_shape=(None, kernel.shape[1])
    )


def tensorflow_layer(
    kernel: np.ndarray, bias: np.ndarray
) -> keras.layers.Layer:
    """TensorFlow: a SavedModel, read from a folder."""
    import tensorflow as tf

    class Module(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = tf.Variable(kernel)
            self.bias = tf.Variable(bias)

        @tf.function(
            input_signature=[tf.TensorSpec((None, len(kernel)), tf.float32)]
        )
        def serve(self, inputs: Any) -> Any:
            return tf.tanh(inputs @ self.kernel + self.bias)

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(Module(), folder)
        # Keras takes a SavedModel for inference; say that it is to train.
        return keras.layers.TFSMLayer(
            folder, call_endpoint="serve", trainable=True
        )


LAYERS = {
    "jax": flax_layer,
    "torch": torch_layer,
    "tensorflow": tensorflow_layer,
}


def build(layer: keras.layers.Layer, width: int) -> keras.Model:
    """Makes a Keras model with the layer between layers of Keras."""
    inputs = keras.Input((width,))
    normalized = keras.layers.LayerNormalization()(inputs)
    outputs = keras.layers.Dense(1, kernel_initializer="ones")(
        layer(normalized)
    )
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(0.1), "mean_squared_error")
    return model


def main() -> None:
    """Trains on a function of four numbers."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1024, 4)).astype("float32")
    y = np.sin(x[:, :1]) * x[:, 1:2]
    kernel = rng.normal(0, 0.5, (4, 16)).astype("float32")
    layer = LAYERS[backend.name()](kernel, np.zeros(16, "float32"))
    model = build(layer, 4)
    history = model.fit(x, y, epochs=20, verbose=0).history["loss"]
    print(f"{type(layer).__name__}: loss {history[0]:.3f} to {history[-1]:.3f}")


if __name__ == "__main__":
    main()
