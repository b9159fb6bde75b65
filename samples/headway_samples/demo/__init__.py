"""The demo: the three samples mixed on an emulated pool, Headway beside three baselines."""
