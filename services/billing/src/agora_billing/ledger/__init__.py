"""Double entries: what every change of money was, and the statement made of it."""
