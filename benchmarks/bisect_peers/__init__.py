"""Other ways to find the culprit, on the same simulated hosts as ours: see benchmarks/bisect.py."""
