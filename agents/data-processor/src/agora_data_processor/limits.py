"""Bounds on what one file may ask of memory and time."""

SAMPLE_BYTES = 1_000_000
"""How much of a text file's head decides on its dialect and layout."""
SAMPLE_RECORDS = 1_000
"""How many records of the head decide on the layout."""
TYPE_SAMPLE_ROWS = 20_000
"""How many rows decide on types before all rows are checked against the decision."""
RECORD_CHARACTERS_MAX = 4_000_000
"""A longer record is rejected: it is a broken quote or no table."""
QUOTED_LINES_MAX = 500
"""A quoted field that goes on over more lines was never closed."""
BATCH_RECORDS = 20_000
BATCH_CHARACTERS = 8_000_000
COLUMNS_MAX = 5_000
SPOOL_MEMORY_BYTES = 48_000_000
"""Rows beyond this wait on disk between the passes."""
EXCEL_BYTES_MAX = 200_000_000
EXCEL_UNPACKED_BYTES_MAX = 600_000_000
"""A workbook is read into memory whole, so what it unpacks to is bounded."""
EXCEL_RATIO_MAX = 200
"""XML packs well, but not better than this unless someone means harm."""
EXCEL_RATIO_FROM_BYTES = 20_000_000
JSON_ITEM_CHARACTERS_MAX = 8_000_000
JSON_DEPTH_MAX = 8
REJECTED_VALUE_CHARACTERS = 300
REJECTED_RECORD_CHARACTERS = 10_000
DISTINCT_MAX = 100_000
"""Distinct values are counted exactly up to here, then reported as "at least"."""
