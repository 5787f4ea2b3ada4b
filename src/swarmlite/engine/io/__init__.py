"""Standard streams of containers: exec, attach, probes, logs."""
