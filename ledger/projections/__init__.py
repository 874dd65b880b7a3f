"""Read models and answers."""
