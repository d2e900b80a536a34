"""Memory: what each agent keeps for each tenant. Rows are the truth; the vectors of texts are a copy of them."""
