"""Exact search of the 100 best of a million vectors, against FAISS."""

from benchmarks.topk import TopKWorkload

WORKLOAD = TopKWorkload(count=1_000_000, dim=64, k=100, batch_sizes=(32,))
