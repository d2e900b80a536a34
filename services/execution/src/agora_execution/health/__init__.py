"""Whether a package can work now: its schemas, its tools, its recent runs."""
