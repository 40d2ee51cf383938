"""A recipe carried out on one host, from the first setting to the captured dump, and undone again."""

from lab.trials.bench import Bench, open_bench, target_of
from lab.trials.investigate import investigate, put_back
from lab.trials.prepare import open_case, prepare
from lab.trials.restore import restore
from lab.trials.run import run_trial

__all__ = [
    "Bench",
    "investigate",
    "open_bench",
    "open_case",
    "prepare",
    "put_back",
    "restore",
    "run_trial",
    "target_of",
]
