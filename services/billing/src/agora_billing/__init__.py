"""The billing service: accounts, pinned prices, holds, the ledger and every amount."""
