"""The recipe of the embedded document classifier; run it as ``python -m training.topics``."""
