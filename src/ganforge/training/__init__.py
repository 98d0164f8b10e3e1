"""The training loop, its settings, and the watchdog for numbers that are not finite."""
