"""Benchmarks: two sides interleaved in pairs, the median ratio, one JSON line last. `./dev bench NAME`."""
