"""Training steps of a ResNet-18 on images of 64x64 pixels."""

from benchmarks.classifier import ClassifierTraining, Network

WORKLOAD = ClassifierTraining(
    Network((2, 2, 2, 2), (64, 128, 256, 512), num_classes=1000),
    batch_sizes=(32,),
)
