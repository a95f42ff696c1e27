"""Image classification and augmentation: not landed yet."""
