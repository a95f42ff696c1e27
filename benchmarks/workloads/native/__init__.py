"""Hand-written baselines, one module a framework, as its experts write.

Each module has a class `DCN` with `fit` and `predict` over the same rows, start
weights, loss and optimizer as the Keras model.
"""
