"""The price book: what each package has cost, costs and will cost."""
