"""Indexes that find the candidates of highest score for each query."""
