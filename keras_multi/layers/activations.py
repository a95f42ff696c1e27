"""Activations that Keras has under no name of its own."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_multi")
def gelu_tanh(x: Any) -> Any:
    """Gaussian error linear unit in its tanh form, that of GPT-2.

    `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, Hendrycks and Gimpel
    2016, "Gaussian Error Linear Units", section 2. Some checkpoints were
    trained with this form, others with the exact one (`"gelu"`).

    Args:
        x: float tensor of any shape.

    Returns:
        Float tensor of the same shape.

    Example:
        >>> round(float(gelu_tanh(keras.ops.convert_to_tensor(1.0))), 4)
        0.8412
    """
    return ops.gelu(x, approximate=True)
