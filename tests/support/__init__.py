"""What tests from outside and benchmarks share."""
