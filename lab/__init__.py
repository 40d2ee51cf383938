"""Bugcheck Lab: find the third-party driver that crashes a Windows Server.

Every capability is a plain function or class in a package of this name; `flows` puts them in order
as Prefect flows and `lab.cli` is the command line.
"""

__version__ = "0.1.0"
