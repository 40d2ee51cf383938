"""A dump file, up to physical pages and virtual memory."""
