"""Output of commands: streams, tables, signals."""
