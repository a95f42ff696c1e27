"""Rating prediction: factor models, and cross validation of all models."""
