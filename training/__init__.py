"""Recipes that train the embedded models; run each as ``python -m training.<name>``."""
