"""What a run owes after it ended, who pays it, and its receipt."""
