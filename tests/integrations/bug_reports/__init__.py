"""The bug reports that this project began with, against the versions that they are about."""
