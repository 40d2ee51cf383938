"""Kernel objects -> evidence -> crash, signature, suspects."""

from lab.analysis.signature import signature
from lab.analysis.triage import triage

__all__ = ["signature", "triage"]
