"""The data module: one function a statement of sql/, of the same name. None means that it is not there."""
