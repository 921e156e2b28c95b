"""Optimization: trainer, data-parallel processes, precision and metrics."""
