"""What is served: the model folder and its parts, text in and out, and the registry of all models."""
