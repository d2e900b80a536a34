"""Language models: what can be asked and at which price, keys of their vendors, and the calls that runs made."""
