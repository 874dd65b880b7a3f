"""The catalogue of events, their envelope and their bytes."""
