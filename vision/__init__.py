"""Image classification and augmentation (CutMix, MixUp, RandAugment): not landed yet."""
