"""Names and layouts of a kernel: built-in tables and ISF files, never of the wrong build."""
