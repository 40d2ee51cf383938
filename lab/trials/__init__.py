"""A recipe carried out on one host, from the first setting to the captured dump, and undone again."""

from lab.trials.as_found import left_as_found, put_back
from lab.trials.bench import Bench, open_bench
from lab.trials.campaign import Tasks, campaign
from lab.trials.crew import Crew, Done, Threads
from lab.trials.dumps import dumps_of
from lab.trials.investigate import investigate
from lab.trials.prepare import examine, open_case, prepare
from lab.trials.restore import restore
from lab.trials.run import run_trial
from lab.trials.soak import judge, meaning, open_soak, soak
from lab.trials.target import target_of, within_caps

__all__ = [
    "Bench",
    "Crew",
    "Done",
    "Tasks",
    "Threads",
    "campaign",
    "dumps_of",
    "examine",
    "investigate",
    "judge",
    "left_as_found",
    "meaning",
    "open_bench",
    "open_case",
    "open_soak",
    "prepare",
    "put_back",
    "restore",
    "run_trial",
    "soak",
    "target_of",
    "within_caps",
]
