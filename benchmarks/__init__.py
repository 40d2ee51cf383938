"""Measurements of the analyser, and the files they are made on."""
