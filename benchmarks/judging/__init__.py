"""What `benchmarks.judge` measures, and with which rules it compares."""
