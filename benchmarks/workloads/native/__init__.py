"""Hand-written baselines, one module a framework, as its experts write.

Each module has the classes `DCN`, with `fit` and `predict`, and `TwoTower`,
with `fit`, over the same rows, start weights, loss and optimizer as the Keras
models, and `top_k`, which gives a function from queries to the best scores.
`diffusers` holds what the library of this name has: plain PyTorch, a peer.
A module `resnet_<framework>` has `predict` and `train`, which give functions
of images and of images and labels; `unet_<framework>` has `unet`, which gives
one of latents, time steps and contexts.
"""
