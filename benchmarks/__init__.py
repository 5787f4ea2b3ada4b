"""What swarmlite costs, against Docker's engine and crun in the same run: `make bench`.

Each module measures one thing and returns rows; `__main__` prints the table. Absolute figures
drift from machine to machine: the ratios are what the goals are about.
"""
