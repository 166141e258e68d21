"""What `make demo` runs beside the stack: a fake LLM provider, a RAG assistant and a notification receiver."""
