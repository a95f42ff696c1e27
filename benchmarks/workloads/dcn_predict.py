"""Predictions of the DCN of `dcn_train`."""

from benchmarks.dcn import DCNWorkload
from benchmarks.workloads.dcn_train import CRITEO_LIKE

WORKLOAD = DCNWorkload(CRITEO_LIKE, batch_sizes=(256, 4096), training=False)
