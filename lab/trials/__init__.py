"""A recipe carried out on one host, from the first setting to the captured dump, and undone again."""

from lab.trials.bench import Bench, open_bench
from lab.trials.prepare import open_case, prepare
from lab.trials.restore import restore
from lab.trials.run import run_trial

__all__ = ["Bench", "open_bench", "open_case", "prepare", "restore", "run_trial"]
