"""Generation: how a model continues a text."""

from nlp.generation.beam import Beam
from nlp.generation.contrastive import Contrastive
from nlp.generation.generator import Generator
from nlp.generation.rules import Rules
from nlp.generation.samplers import Greedy, Random
from nlp.generation.score import Score
from nlp.generation.speculative import Speculative

__all__ = [
    "Beam",
    "Contrastive",
    "Generator",
    "Greedy",
    "Random",
    "Rules",
    "Score",
    "Speculative",
]
