"""Shared layers, one idea a file, each on every Keras backend."""

from keras_multi import backend

backend.require()

from keras_multi.layers.activations import gelu_tanh  # noqa: E402
from keras_multi.layers.augmentation import (  # noqa: E402
    ColorJitter,
    CutMix,
    CutMixOrMixUp,
    MixUp,
    Normalize,
    Pipeline,
    RandAugment,
    RandomErasing,
    RandomFlip,
    RandomResizedCrop,
    TrivialAugment,
)
from keras_multi.layers.conv2d import Conv2D  # noqa: E402
from keras_multi.layers.dense import Dense  # noqa: E402
from keras_multi.layers.dot_interaction import DotInteraction  # noqa: E402
from keras_multi.layers.embedding import Embedding  # noqa: E402
from keras_multi.layers.embedding_bag import EmbeddingBag  # noqa: E402
from keras_multi.layers.feature_cross import (  # noqa: E402
    CrossNetwork,
    FeatureCross,
)
from keras_multi.layers.group_normalization import (  # noqa: E402
    GroupNormalization,
)
from keras_multi.layers.layer_normalization import (  # noqa: E402
    LayerNormalization,
    layer_normalization,
)
from keras_multi.layers.mixture_of_experts import (  # noqa: E402
    MultiGateMixtureOfExperts,
)
from keras_multi.layers.mlp import MLP  # noqa: E402
from keras_multi.layers.rotary_embedding import (  # noqa: E402
    rotate,
    rotation,
)
from keras_multi.layers.self_attention import SelfAttention  # noqa: E402
from keras_multi.layers.sparse_embedding import (  # noqa: E402
    SparseEmbedding,
)
from keras_multi.layers.swiglu import SwiGLU  # noqa: E402
from keras_multi.layers.transformer_block import (  # noqa: E402
    TransformerBlock,
)
from keras_multi.layers.uncertainty_weights import (  # noqa: E402
    UncertaintyWeights,
)

__all__ = [
    "MLP",
    "ColorJitter",
    "Conv2D",
    "CrossNetwork",
    "CutMix",
    "CutMixOrMixUp",
    "Dense",
    "DotInteraction",
    "Embedding",
    "EmbeddingBag",
    "FeatureCross",
    "GroupNormalization",
    "LayerNormalization",
    "MixUp",
    "MultiGateMixtureOfExperts",
    "Normalize",
    "Pipeline",
    "RandAugment",
    "RandomErasing",
    "RandomFlip",
    "RandomResizedCrop",
    "SelfAttention",
    "SparseEmbedding",
    "SwiGLU",
    "TransformerBlock",
    "TrivialAugment",
    "UncertaintyWeights",
    "gelu_tanh",
    "layer_normalization",
    "rotate",
    "rotation",
]
