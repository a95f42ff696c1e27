"""GPT-2 with 124 million parameters reads a prompt of 512 tokens.

It writes one token after it. Peers are those of `gpt2_generate`.
"""

from benchmarks.generation import Prefill
from benchmarks.gpt2 import Size

WORKLOAD = Prefill(Size(prompt=512, new=1), batch_sizes=(1, 8))
