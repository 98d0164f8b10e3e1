"""Pictures collected from folders, public sets and the web, with their provenance."""
