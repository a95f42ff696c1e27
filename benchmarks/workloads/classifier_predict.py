"""Predictions of a ResNet-18 for images of 64x64 pixels."""

from benchmarks.classifier import ClassifierPrediction, Network

WORKLOAD = ClassifierPrediction(
    Network((2, 2, 2, 2), (64, 128, 256, 512), num_classes=1000),
    batch_sizes=(1, 16),
)
