"""What is computed: recurrent networks in pure torch, with explicit state.

This layer knows no sessions, no text and no requests. It does not know where a state is kept either: a state
is a tuple of tensors that the caller hands in and gets back.

Legend for shapes, used in every docstring of the package:
B batch, T steps, N packed rows (the sum of all steps' batch sizes), F features, V vocabulary, E embedding,
H hidden units, P projection, R output width of a layer, G width of a gate product, L layers, D directions.
"""
