"""What reading a stream costs over HTTP: streamnorm beside other readers; see ``__main__``."""
