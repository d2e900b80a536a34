"""The hash chain of each account: whether a posting was changed after it was booked."""
