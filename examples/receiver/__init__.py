"""A notification receiver: prints what a person would be sent."""
