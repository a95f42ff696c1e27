"""Optimizers: those of Keras, faster where Keras takes many passes."""

from keras_multi.optimizers.adagrad import Adagrad
from keras_multi.optimizers.adam import Adam, AdamW
from keras_multi.optimizers.sgd import SGD

__all__ = ["SGD", "Adagrad", "Adam", "AdamW"]
