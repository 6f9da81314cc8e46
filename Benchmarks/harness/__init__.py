"""What Benchmarks/run, Benchmarks/curve and scripts/budgets share."""
