"""`pollux stat`: a running daemon as its shared memory shows it, once or over and over."""
