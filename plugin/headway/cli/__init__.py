"""The ``headway`` command."""
