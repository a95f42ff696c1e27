"""Training: one `fit` around Keras's own, that resumes and never pickles."""

from keras_multi.training.batches import Batches
from keras_multi.training.checkpoint import remove_checkpoint
from keras_multi.training.feed import feed
from keras_multi.training.fit import History, fit
from keras_multi.training.record import record_steps
from keras_multi.training.repeat import repeat

__all__ = [
    "Batches",
    "History",
    "feed",
    "fit",
    "record_steps",
    "remove_checkpoint",
    "repeat",
]
