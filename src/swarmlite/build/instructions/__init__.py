"""What each instruction of a Dockerfile does: `metadata` changes the configuration only, the others
make a layer each: `running` (RUN), `files` (COPY and ADD), `workdir`.
"""
