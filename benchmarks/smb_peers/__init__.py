"""SMB2 clients to compare with: one small file each, run as `python -m benchmarks.smb_peers.NAME JOB`.

JOB is one JSON object (`job.Job`). Each logs on, opens the file, makes READs of the job's size, with the
job's number in flight where the library can, and prints one JSON object (`meter.Measured`). Those of others
run in an environment of their own (`.venv-bench`).
"""
