"""Frames between client and daemon, and the journal on disk."""
