"""A fake OpenAI-compatible provider: real shapes, realistic latencies, incidents on demand, no network, no key."""
