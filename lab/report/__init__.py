"""A case as HTML, Markdown or JSON (`files.write_report` picks by suffix), and a triage as text.

`page` turns a `Case` into plain values to show; the templates and the Markdown writer only lay them out.
"""
