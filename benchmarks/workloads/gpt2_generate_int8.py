"""What `gpt2_generate` does, with matrices and embeddings of int8.

Keras quantises them; the numbers between them have the precision of the cell.
"""

from benchmarks.generation import Generation
from benchmarks.gpt2 import Size

WORKLOAD = Generation(Size(), batch_sizes=(1, 8), quantization="int8")
