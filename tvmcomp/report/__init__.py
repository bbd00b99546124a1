"""The reports that a person looks at, and their JSON."""
