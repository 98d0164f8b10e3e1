"""What `collect` needs of the internet: guarded addresses, polite requests, lists and pages of addresses, public
sets."""
