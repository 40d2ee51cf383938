"""The `lab` command. One file a group of commands; `main` turns errors into sentences and exit codes."""

from lab.cli.main import main

__all__ = ["main"]
