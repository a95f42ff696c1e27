"""Explicit feature crosses: DCN, DCN-V2, its low-rank and mixture forms."""

from typing import Any

import keras
from keras import ops

Shape = tuple[int | None, ...]


@keras.saving.register_keras_serializable("keras_multi")
class FeatureCross(keras.layers.Layer):
    """One cross layer of a Deep & Cross Network.

    With input features `x0` and the output `x` of the layer before, it gives
    one more order of feature products. All forms add `x` back at the end:

    | form | `x0` times | arguments |
    |---|---|---|
    | full rank (V2, Eq. 1) | `x W + b` | the default |
    | low rank (V2, Eq. 2) | `(x V) U + b` | `projection_dim=r` |
    | mixture of low-rank experts (V2, Eq. 3 and 4) | \
`sum_e G_e(x) g(g(x V_e) C_e) U_e + b` | `projection_dim=r, num_experts=E` |
    | vector (V1, Eq. 3) | `x w`, and `b` is added outside the product | \
`vector=True` |

    In the mixture, `g` is `expert_activation` and the gate `G` a softmax over
    the experts of a linear map of `x`.

    Args:
        projection_dim: positive integer, the rank `r`. Full rank if `None`.
        num_experts: number of low-rank experts; more than one needs
            `projection_dim`.
        diag_scale: non-negative number, added to the diagonal of the full
            matrix for stability: the product becomes
            `x0 * (x W + b + diag_scale * x)`.
        use_bias: whether there is a bias `b`.
        pre_activation: activation of the factor that `x0` is multiplied by,
            linear by default.
        expert_activation: the activation `g` within each expert.
        vector: whether to use the vector form of the first DCN.
        kernel_initializer: initializer of the matrices.
        bias_initializer: initializer of the bias.
        kernel_regularizer: regularizer of the matrices.
        bias_regularizer: regularizer of the bias.
        **kwargs: arguments of `keras.layers.Layer`.

    Call arguments:
        x0: float tensor `(batch, ..., dim)`, the input features.
        x: float tensor of the same shape, the output of the cross layer
            before this one. `x0` itself if `None`.

    Returns:
        Float tensor of the same shape, in the layer's compute dtype.

    Raises:
        ValueError: if an argument is out of range, arguments exclude each
            other, or the inputs differ in shape or have no static last
            dimension.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import FeatureCross
        >>> x0 = np.ones((2, 3), "float32")
        >>> FeatureCross(projection_dim=2)(x0).shape
        (2, 3)

    References:
        - [Wang et al. 2021, DCN V2](https://arxiv.org/abs/2008.13535),
          section 3.2 and 3.3, Eq. 1 to 4.
        - [Wang et al. 2017, Deep & Cross Network](
          https://arxiv.org/abs/1708.05123), Eq. 3.
    """

    def __init__(
        self,
        projection_dim: int | None = None,
        num_experts: int = 1,
        diag_scale: float = 0.0,
        use_bias: bool = True,
        pre_activation: Any = None,
        expert_activation: Any = "tanh",
        vector: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if projection_dim is not None and projection_dim < 1:
            raise ValueError(
                "`projection_dim` must be a positive integer or None. "
                f"Received: projection_dim={projection_dim}"
            )
        if num_experts < 1 or (num_experts > 1 and projection_dim is None):
            raise ValueError(
                "`num_experts` must be at least 1, and more than 1 needs "
                f"`projection_dim`. Received: num_experts={num_experts}, "
                f"projection_dim={projection_dim}"
            )
        if diag_scale < 0:
            raise ValueError(
                "`diag_scale` must not be negative. "
                f"Received: diag_scale={diag_scale}"
            )
        pre_activation = keras.activations.get(pre_activation)
        if vector and (
            projection_dim is not None
            or diag_scale
            or pre_activation is not keras.activations.linear
        ):
            raise ValueError(
                "`vector=True` takes no `projection_dim`, `diag_scale` or "
                f"`pre_activation`. Received: projection_dim={projection_dim}, "
                f"diag_scale={diag_scale}, pre_activation={pre_activation}"
            )
        self.projection_dim = projection_dim
        self.num_experts = num_experts
        self.diag_scale = diag_scale
        self.use_bias = use_bias
        self.pre_activation = pre_activation
        self.expert_activation = keras.activations.get(expert_activation)
        self.vector = vector
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        self.supports_masking = True

    def build(self, input_shape: Shape) -> None:
        dim = input_shape[-1]
        if dim is None:
            raise ValueError(
                "the last dimension of the input must be known. "
                f"Received: input_shape={input_shape}"
            )
        rank, experts = self.projection_dim, self.num_experts
        if self.vector:
            self.kernel = self._add_matrix("kernel", (dim, 1))
        elif rank is None:
            self.kernel = self._add_matrix("kernel", (dim, dim))
        else:
            self.down_kernel = self._add_matrix(
                "down_kernel", (dim, experts * rank)
            )
            if experts > 1:
                self.gate_kernel = self._add_matrix(
                    "gate_kernel", (dim, experts)
                )
                self.expert_kernel = self._add_matrix(
                    "expert_kernel", (rank, experts * rank)
                )
            self.kernel = self._add_matrix("kernel", (experts * rank, dim))
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(dim,),
                initializer=self.bias_initializer,
                regularizer=self.bias_regularizer,
            )

    def _add_matrix(self, name: str, shape: tuple[int, int]) -> Any:
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=clone_initializer(self.kernel_initializer),
            regularizer=self.kernel_regularizer,
        )

    def call(self, x0: Any, x: Any = None) -> Any:
        if x is None:
            x = x0
        elif not _compatible(x0.shape, x.shape):
            raise ValueError(
                "`x0` and `x` must have the same shape. "
                f"Received: x0.shape={x0.shape}, x.shape={x.shape}"
            )
        if self.vector:
            crossed = x0 * ops.matmul(x, self.kernel) + x  # (B, ..., D)
            return crossed if self.bias is None else crossed + self.bias

        if self.projection_dim is None:
            factor = ops.matmul(x, self.kernel)
        elif self.num_experts == 1:
            factor = ops.matmul(ops.matmul(x, self.down_kernel), self.kernel)
        else:
            factor = ops.matmul(self._experts(x), self.kernel)
        if self.bias is not None:
            factor = factor + self.bias
        factor = self.pre_activation(factor)
        if self.diag_scale:
            factor = factor + self.diag_scale * x
        return x0 * factor + x

    def _experts(self, x: Any) -> Any:
        """Gated hidden values of all experts, `(B, ..., E * R)`.

        The gate scales the hidden values, so that the way up of all experts
        is one matrix product.
        """
        experts, rank = self.num_experts, self.projection_dim
        hidden = self.expert_activation(ops.matmul(x, self.down_kernel))
        shape = ops.shape(hidden)
        hidden = ops.reshape(hidden, (*shape[:-1], experts, rank))
        core = ops.reshape(self.expert_kernel, (rank, experts, rank))
        core = ops.cast(core, hidden.dtype)
        hidden = ops.einsum("...er,res->...es", hidden, core)
        gate = ops.softmax(ops.matmul(x, self.gate_kernel))  # (B, ..., E)
        hidden = self.expert_activation(hidden) * ops.expand_dims(gate, -1)
        return ops.reshape(hidden, shape)

    def compute_output_shape(
        self, x0_shape: Shape, x_shape: Shape | None = None
    ) -> Shape:
        return x0_shape

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "projection_dim": self.projection_dim,
            "num_experts": self.num_experts,
            "diag_scale": self.diag_scale,
            "use_bias": self.use_bias,
            "pre_activation": keras.activations.serialize(self.pre_activation),
            "expert_activation": keras.activations.serialize(
                self.expert_activation
            ),
            "vector": self.vector,
            "kernel_initializer": keras.initializers.serialize(
                self.kernel_initializer
            ),
            "bias_initializer": keras.initializers.serialize(
                self.bias_initializer
            ),
            "kernel_regularizer": keras.regularizers.serialize(
                self.kernel_regularizer
            ),
            "bias_regularizer": keras.regularizers.serialize(
                self.bias_regularizer
            ),
        }


@keras.saving.register_keras_serializable("keras_multi")
class CrossNetwork(keras.layers.Layer):
    """A stack of `FeatureCross` layers over the same `x0`.

    With `num_layers` layers it holds products of up to `num_layers + 1`
    input features.

    Args:
        num_layers: positive integer, number of cross layers.
        **kwargs: arguments of `FeatureCross`, given to each layer
            (`projection_dim`, `num_experts`, `vector`, ...), and of
            `keras.layers.Layer` (`name`, `dtype`, `trainable`).

    Call arguments:
        x0: float tensor `(batch, ..., dim)`.

    Returns:
        Float tensor of the same shape.

    Raises:
        ValueError: if `num_layers` is less than 1, or as `FeatureCross`.

    Example:
        >>> import numpy as np
        >>> from keras_multi.layers import CrossNetwork
        >>> CrossNetwork(3, vector=True)(np.ones((2, 4), "float32")).shape
        (2, 4)

    References:
        - [Wang et al. 2021, DCN V2](https://arxiv.org/abs/2008.13535),
          section 3.2.
    """

    def __init__(self, num_layers: int, **kwargs: Any) -> None:
        own = {
            name: kwargs.pop(name)
            for name in ("name", "dtype", "trainable", "activity_regularizer")
            if name in kwargs
        }
        super().__init__(**own)
        if num_layers < 1:
            raise ValueError(
                "`num_layers` must be at least 1. "
                f"Received: num_layers={num_layers}"
            )
        self.num_layers = num_layers
        self.supports_masking = True
        self.crosses = [
            FeatureCross(**kwargs, name=f"cross_{i}", dtype=self.dtype_policy)
            for i in range(num_layers)
        ]

    def build(self, input_shape: Shape) -> None:
        for cross in self.crosses:
            cross.build(input_shape)

    def call(self, x0: Any) -> Any:
        x = x0
        for cross in self.crosses:
            x = cross(x0, x)
        return x

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {
            **self.crosses[0].get_config(),
            **config,
            "num_layers": self.num_layers,
        }


def clone_initializer(initializer: Any) -> Any:
    """Copies an initializer, so that each weight gets draws of its own."""
    if isinstance(initializer, keras.initializers.Initializer):
        return initializer.clone()
    return initializer


def _compatible(a: Shape, b: Shape) -> bool:
    return len(a) == len(b) and all(
        i == j or i is None or j is None for i, j in zip(a, b, strict=True)
    )
