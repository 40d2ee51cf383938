"""A running Windows: shells, scripts, drivers, verifier, crash control, boots and events."""
