"""Causal language modelling and generation (GPT-2): not landed yet."""
