"""The tuner: trials a minute, what tuning gains, logs, tuners that are killed."""
