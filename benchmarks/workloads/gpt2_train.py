"""Training steps of a small GPT-2: six layers, 384 wide, 8 x 256 tokens."""

from benchmarks.gpt2 import Size, Training

WORKLOAD = Training(
    Size(
        vocabulary_size=4096,
        num_layers=6,
        num_heads=6,
        hidden_dim=384,
        prompt=256,
        new=0,
    ),
    batch_sizes=(8,),
)
