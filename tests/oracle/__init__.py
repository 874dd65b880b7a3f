"""A second reading of the programme's rules, written without the engine: slow, plain, and asked one instant at a time."""
