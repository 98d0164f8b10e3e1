"""The loop, its settings and its watchdog."""
