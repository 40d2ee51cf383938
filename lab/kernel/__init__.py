"""Virtual memory of a stopped kernel, up to modules, stacks and the objects a driver leaves behind."""
