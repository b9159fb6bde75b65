"""Encoders of sentences: local models that turn a prompt into numbers. The only room for them."""
