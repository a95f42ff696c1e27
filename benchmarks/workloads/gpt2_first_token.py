"""The first of the tokens that `gpt2_generate` writes, prompt included.

The rest of that workload's time is 63 tokens, one after the other.
"""

from benchmarks.generation import Generation
from benchmarks.gpt2 import Size

WORKLOAD = Generation(Size(new=1), batch_sizes=(1, 8))
