"""Networks that turn images into feature maps.

Each is a function that gives a `keras.Model` of plain Keras layers, so that
what is saved loads without this package. It takes values from 0 to 255 as
`(batch, height, width, channels)` of any size and gives a feature map
`(batch, h, w, features)`.
"""

from vision.backbones.efficientnet_lite import EfficientNetLite0
from vision.backbones.resnet import ResNet

__all__ = ["EfficientNetLite0", "ResNet"]
