# Targets: demo, test, bench, lint. Each sets up what it needs; see CONTRIBUTING.md.
.DEFAULT_GOAL := help
