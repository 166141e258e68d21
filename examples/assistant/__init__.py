"""A small RAG assistant, instrumented the way a user would do it."""
