"""The stations: ingest, relay, project, expire, and the bus between them."""
