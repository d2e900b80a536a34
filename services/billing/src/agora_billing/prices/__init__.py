"""Price versions as pinned, and what quantities cost under them."""
