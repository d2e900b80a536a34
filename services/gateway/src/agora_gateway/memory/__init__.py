"""What agents keep, over HTTP."""
