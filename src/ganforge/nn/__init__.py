"""Building blocks for networks, without opinions about the systems that use them."""
