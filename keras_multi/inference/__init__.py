"""Models that infer faster, and give what they gave before."""

from keras_multi.inference.optimize import optimize_for_inference
from keras_multi.inference.optimized import OptimizedModel
from keras_multi.inference.report import Report

__all__ = ["OptimizedModel", "Report", "optimize_for_inference"]
