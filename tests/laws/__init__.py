"""Every law of the design as a property over random histories."""
