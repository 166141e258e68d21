"""The stack without Docker: the same servers at the same versions, built from their Go modules."""
