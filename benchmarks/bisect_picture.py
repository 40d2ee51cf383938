from typing import Any


def comparison(table: Any) -> str:
    return ""


def calibration(stated: Any) -> str:
    return ""
