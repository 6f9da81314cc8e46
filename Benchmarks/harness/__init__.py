"""The parts that Benchmarks/run, Benchmarks/curve and scripts/budgets share."""
