"""The servers behind Nightlight: their configuration, and the two ways to run them."""
