"""The data module: one function per statement of sql/, with the same name. None means "not there"."""
