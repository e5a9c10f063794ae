"""Other people's models made into model folders: sources read them, a writer makes the folder, a check compares."""
