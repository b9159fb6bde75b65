"""What Headway costs, as ratios within one run: ``python -m tests.bench --json bench.json``."""
