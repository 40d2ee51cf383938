"""Kernel objects -> evidence -> crash, signature, suspects."""

from lab.analysis.triage import triage

__all__ = ["triage"]
