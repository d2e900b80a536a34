"""Whether the books agree with themselves, recomputed from every row."""
