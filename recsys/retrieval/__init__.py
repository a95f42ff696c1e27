"""Retrieval of movies with two towers, and its baselines."""
