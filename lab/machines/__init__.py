"""Machines we can power, reset and interrupt. One back end a file; the contract is `port`."""
