"""The UNet of Stable Diffusion 1.4, for pictures of 256x256 pixels."""

from benchmarks.workloads.sd_unet_step import UNetStep

WORKLOAD = UNetStep(256, batch_sizes=(1, 2))
