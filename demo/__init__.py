"""The demo, and what it shares with tests and benchmarks: rendered scenes and a database of its own."""
