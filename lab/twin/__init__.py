"""A simulated Windows Server, served over its real wire protocols."""
