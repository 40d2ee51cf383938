MODES: dict[str, list[dict[str, object]]] = {}
