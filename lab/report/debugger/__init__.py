"""Answers about a dump in the form of the kernel debugger's own, so that who knows it reads them at once.

One file a subject. Every function yields lines without line ends from plain values; foreign text in those has
to be made harmless before (`lab.report.cleaned`).
"""
