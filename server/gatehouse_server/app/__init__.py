"""The composition root: builds everything, then start, serve, drain. Nothing below imports it."""
