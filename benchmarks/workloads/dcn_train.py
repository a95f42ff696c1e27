"""Training steps of a DCN of the size of a click predictor.

26 categorical columns of 10,000 categories and 13 dense ones, as in the
Criteo data sets, on random rows.
"""

from benchmarks.dcn import DCNWorkload, Shape

CRITEO_LIKE = Shape(
    vocabulary_sizes=(10_000,) * 26,
    num_dense=13,
    embedding_dim=16,
    num_cross_layers=3,
    deep_units=(256, 128),
    binary=True,
)

WORKLOAD = DCNWorkload(CRITEO_LIKE, batch_sizes=(256, 4096), training=True)
