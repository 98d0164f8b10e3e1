"""What every package stands on: configuration, devices, errors, files, pixels, seeds."""
