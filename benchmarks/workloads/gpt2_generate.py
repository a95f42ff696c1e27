"""GPT-2 with 124 million parameters writes 64 tokens after a prompt of 16.

Greedily, in float32 or less, the prompt included in the time. Peers are
keras-hub on the same backend, and `transformers` where PyTorch is installed.
"""

from benchmarks.generation import Generation
from benchmarks.gpt2 import Size

WORKLOAD = Generation(Size(), batch_sizes=(1, 8))
