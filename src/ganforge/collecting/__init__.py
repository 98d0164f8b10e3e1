"""Pictures gathered from folders, public sets and the web, with their provenance."""
