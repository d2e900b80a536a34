"""What was refused: kept with its reason, listed, corrected and replayed."""
