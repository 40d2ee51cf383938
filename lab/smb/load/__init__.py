"""The read load: lanes that drive connections, and what opens, watches and reports them."""
