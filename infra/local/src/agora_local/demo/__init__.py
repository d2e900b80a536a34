"""`./dev demo`: hire three agents on real input, watch them work, and check every charge against the ledger."""
